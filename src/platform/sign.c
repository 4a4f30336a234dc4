/* sign: the DWAY signature of a DataWay with access keys (platform-facts 4.1).
 *
 * Pure. What is signed is what the caller passes: the bytes that go over the wire, or nothing for
 * mode `empty`. Neither key nor signature is kept. Called by the client of the platform; any
 * thread.
 */
#include "platform/sign.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRING_MAX = 64 << 10, DAY = 86400 };

void sm_sign_date(int64_t unix_s, char out[32]) {
    static const char weekdays[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t days = unix_s / DAY, rest = unix_s % DAY, year;
    int month, day;
    if (rest < 0) {
        rest += DAY;
        days--;
    }
    sm_civil_from_days(days, &year, &month, &day);
    /* The header has four digits for the year. */
    int y = year < 0 ? 0 : year > 9999 ? 9999 : (int)year;
    snprintf(out, 32, "%s, %02d %s %04d %02d:%02d:%02d GMT", weekdays[((days % 7) + 7) % 7], day,
             months[month - 1], y, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
}

static void base64(const unsigned char *p, size_t n, char *out) {
    EVP_EncodeBlock((unsigned char *)out, p, (int)n);
}

char *sm_sign_dway(const char *access_key, const void *secret_key, size_t secret_n,
                   const char *method, const char *content_type, const void *body, size_t n,
                   const char *date) {
    unsigned char digest[EVP_MAX_MD_SIZE], mac[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE];
    size_t digest_n = 0, mac_n = 0;
    if (!EVP_Q_digest(NULL, "MD5", NULL, n ? body : "", n, digest, &digest_n))
        return NULL;
    base64(digest, digest_n, text);

    sm_buf b;
    sm_buf_init(&b, STRING_MAX);
    sm_buf_addf(&b, "%s\n%s\n%s\n%s", method, text, content_type ? content_type : "", date);
    char *out = NULL;
    /* A NULL key means "keep the old one" to OpenSSL, so an empty one needs an address. */
    if (!b.failed &&
        EVP_Q_mac(NULL, "HMAC", NULL, "SHA1", NULL, secret_n ? secret_key : "", secret_n,
                  (const unsigned char *)b.data, b.len, mac, sizeof mac, &mac_n)) {
        base64(mac, mac_n, text);
        out = sm_asprintf("DWAY %s:%s", access_key, text);
    }
    sm_buf_fini(&b);
    OPENSSL_cleanse(mac, sizeof mac);
    return out;
}
