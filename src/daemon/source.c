/* source: texts, snapshots and inspections, shared by reference count.
 *
 * A snapshot never changes after it is made: a run keeps the one it started with, however often the
 * files change meanwhile. Owned by the loop's thread; counts are not atomic.
 */
#include "base/mem.h"
#include "base/str.h"
#include "daemon/catalog.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

sm_blob *sm_blob_new(const char *text, size_t n) {
    unsigned char digest[32];
    sm_blob *b = sm_malloc(sizeof *b + n + 1);
    b->refs = 1;
    b->n = n;
    if (n > 0)
        memcpy(b->text, text, n);
    b->text[n] = 0;
    if (EVP_Digest(b->text, n, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* the library lacks SHA-256: nothing here can work */
    sm_hex(digest, sizeof digest, b->hash);
    return b;
}

sm_blob *sm_blob_ref(sm_blob *b) {
    b->refs++;
    return b;
}

void sm_blob_unref(sm_blob *b) {
    if (b && --b->refs == 0)
        free(b);
}

sm_source *sm_source_ref(sm_source *s) {
    s->refs++;
    return s;
}

void sm_source_unref(sm_source *s) {
    if (!s || --s->refs > 0)
        return;
    for (size_t i = 0; i < s->n_libs && !s->base; i++) {
        free(s->libs[i].name);
        sm_blob_unref(s->libs[i].blob);
    }
    if (!s->base)
        free(s->libs);
    sm_source_unref(s->base);
    free(s->file);
    sm_blob_unref(s->script);
    free(s);
}

sm_inspection *sm_inspection_ref(sm_inspection *i) {
    i->refs++;
    return i;
}

void sm_inspection_unref(sm_inspection *i) {
    if (!i || --i->refs > 0)
        return;
    free(i->id);
    free(i->func_id);
    free(i->fn);
    free(i->account);
    sm_source_unref(i->source);
    json_decref(i->spec);
    json_decref(i->conf_params);
    json_decref(i->grants);
    json_decref(i->net);
    json_decref(i->notes);
    json_decref(i->limits);
    for (size_t k = 0; k < i->n_crons; k++)
        sm_cron_free(i->crons[k]);
    free(i->crons);
    sm_tz_free(i->tz);
    sm_secret_free(i->api_key);
    free(i);
}
