/* versions: names the libraries that scripts run on, for `--version`. */
#include "worker/entry.h"
#include <curl/curl.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <stdio.h>

void sm_worker_versions(char *out, size_t cap) {
    snprintf(out, cap, "%s\nlibcurl %s\n%s", LUA_RELEASE,
             curl_version_info(CURLVERSION_NOW)->version, OpenSSL_version(OPENSSL_VERSION));
}
