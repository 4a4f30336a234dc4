/* nettls: the TLS handshake of selfmon.net, and the report on a server's certificates.
 *
 * OpenSSL verifies as always; a callback notes what it finds wrong, all of it, and lets it go on,
 * so that a bad chain can be shown. Whoever asked for verification is refused afterwards, before a
 * byte of his is sent. Trust is the system's (SSL_CERT_FILE, SSL_CERT_DIR, else OpenSSL's own
 * places) or a CA of the call. Called by netops.c and bind_conn.c.
 */
#include "worker/nettls.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/fetch_internal.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBLEMS_MAX = 8, CHAIN_MAX = 16, SENTENCE = 512 };

/* What the verify callback found; on the C stack of sm_nettls_start. */
typedef struct finding {
    const sm_nettls *opts;
    const char *who;
    struct {
        const char *word;
        char text[SENTENCE];
    } problems[PROBLEMS_MAX];
    size_t n;
    STACK_OF(X509) * chain; /* as sent; owned */
} finding;

static void note(finding *f, const char *word, const char *fmt, ...) SM_PRINTF(3, 4);

static void note(finding *f, const char *word, const char *fmt, ...) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->problems[i].word, word) == 0)
            return;
    if (f->n == PROBLEMS_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->problems[f->n].text, SENTENCE, fmt, ap);
    va_end(ap);
    f->problems[f->n++].word = word;
}

static void day_text(int64_t unix_s, char out[16]) {
    char full[32];
    sm_time_rfc3339(unix_s * SM_NS_PER_S, false, full);
    snprintf(out, 16, "%.10s", full);
}

/* "a, b, c and 5 more" */
static void names_text(const sm_fetch_tls *t, char *out, size_t cap) {
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->n_san && at < cap; i++) {
        if (i == 4) {
            snprintf(out + at, cap - at, " and %zu more", t->n_san - i);
            return;
        }
        int n = snprintf(out + at, cap - at, "%s%s", i ? ", " : "", t->san[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    if (t->n_san == 0)
        snprintf(out, cap, "%s", t->subject ? t->subject : "nobody");
}

/* One thing that OpenSSL holds against `cert`, which stands `depth` steps above the leaf. */
static void describe(finding *f, int error, int depth, X509 *cert) {
    sm_fetch_tls t = {0};
    char day[16], names[256];
    if (cert)
        sm_fetch_tls_read(cert, sm_wall_ns(), &t);
    const char *issuer = t.issuer ? t.issuer : "?";
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        day_text(t.not_after, day);
        if (depth == 0)
            note(f, "expired", "the certificate expired on %s", day);
        else
            note(f, "expired", "the certificate of its issuer %.200s expired on %s",
                 t.subject ? t.subject : "?", day);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        day_text(t.not_before, day);
        note(f, "not_yet_valid", "the certificate%s is valid from %s only",
             depth ? " of its issuer" : "", day);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        names_text(&t, names, sizeof names);
        note(f, "name", "the certificate is for %s, not for %s", names, f->opts->servername);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        note(f, "self_signed", "the certificate is signed by itself, not by an authority");
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        note(f, "untrusted", "its authority %.200s is not trusted here", issuer);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        note(f, "untrusted",
             depth == 0 ? "the issuer %.200s is not trusted here, or the server leaves the "
                          "certificate of its issuer out"
                        : "the chain ends at %.200s, which is not trusted here",
             issuer);
        break;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        note(f, "weak", "%s is too weak: %s", depth ? "a certificate of the chain" : "it",
             X509_verify_cert_error_string(error));
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        note(f, "purpose", "the certificate is not for servers");
        break;
    default:
        note(f, "invalid", "the certificate is not valid: %s",
             X509_verify_cert_error_string(error));
    }
    free(t.subject);
    free(t.issuer);
    for (size_t i = 0; i < t.n_san; i++)
        free(t.san[i]);
    free(t.san);
}

static int on_verify(int ok, X509_STORE_CTX *ctx) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    finding *f = ssl ? SSL_get_app_data(ssl) : NULL;
    if (!f)
        return ok;
    if (!f->chain && X509_STORE_CTX_get0_untrusted(ctx))
        f->chain = X509_chain_up_ref(X509_STORE_CTX_get0_untrusted(ctx));
    if (!ok)
        describe(f, X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx),
                 X509_STORE_CTX_get_current_cert(ctx));
    return 1;
}

/* ---- setting up ---------------------------------------------------------------------------- */

X509_STORE *sm_nettls_trust(void) {
    X509_STORE *store = X509_STORE_new();
    if (store && X509_STORE_set_default_paths(store) != 1) {
        X509_STORE_free(store);
        store = NULL;
    }
    ERR_clear_error();
    return store;
}

static bool trust(SSL_CTX *ctx, const char *pem, X509_STORE *store) {
    if (!pem && store)
        SSL_CTX_set1_cert_store(ctx, store);
    if (!pem)
        return store != NULL;
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert;
    int n = 0;
    while (bio && n < 1000 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n > 0;
}

/* s->ssl ready to connect, or SM_INVALID. */
static sm_rc set_up(sm_netstream *s, const sm_nettls *o, finding *f, sm_err *err) {
    uint8_t addr[16];
    const char *name = o->servername;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    sm_rc rc = SM_OK;
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        rc = sm_err_set(err, SM_INVALID, "%s: TLS cannot be set up", s->who);
        goto out;
    }
    if (!trust(ctx, o->ca, o->trust)) {
        rc = sm_err_set(err, SM_INVALID, "%s: %s", s->who,
                        o->ca ? "option \"ca\" holds no certificate"
                              : "the system's certificates cannot be read");
        goto out;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
    s->ssl = SSL_new(ctx);
    if (!s->ssl) {
        rc = sm_err_set(err, SM_INVALID, "%s: TLS cannot be set up", s->who);
        goto out;
    }
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
    bool literal = inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
    bool ok = SSL_set_fd(s->ssl, s->fd) == 1;
    if (literal)
        ok = ok && X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    else
        ok = ok && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
             SSL_set_tlsext_host_name(s->ssl, name) == 1;
    if (o->at)
        X509_VERIFY_PARAM_set_time(param, (time_t)o->at);
    SSL_set_app_data(s->ssl, f);
    if (!ok)
        rc = sm_err_set(err, SM_INVALID, "%s: TLS cannot be set up for the name %s", s->who, name);
out:
    SSL_CTX_free(ctx); /* the SSL keeps it */
    ERR_clear_error();
    return rc;
}

static sm_rc shake(sm_netstream *s, const sm_netwait *w, sm_err *err) {
    for (;;) {
        ERR_clear_error();
        errno = 0;
        sm_netquiet quiet;
        sm_netquiet_begin(&quiet);
        int n = SSL_connect(s->ssl), saved = errno;
        sm_netquiet_end(&quiet);
        if (n == 1)
            return SM_OK;
        int kind = SSL_get_error(s->ssl, n);
        if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
            sm_rc rc = sm_netwait_fd(s->fd, kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, w);
            if (rc != SM_OK)
                return sm_netwait_say(rc, s->who, "finish the TLS handshake", err);
            continue;
        }
        unsigned long code = ERR_peek_last_error();
        const char *reason = ERR_reason_error_string(code);
        if (kind == SSL_ERROR_SYSCALL && saved)
            return sm_err_set(err, SM_INVALID, "%s: the TLS handshake broke off: %s", s->who,
                              strerror(saved));
        if (kind == SSL_ERROR_SYSCALL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return sm_err_set(err, SM_INVALID, "%s: closed the connection in the TLS handshake",
                              s->who);
        if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
            return sm_err_set(err, SM_INVALID, "%s: does not speak TLS here", s->who);
        return sm_err_set(err, SM_INVALID, "%s: the TLS handshake failed: %s", s->who,
                          reason ? reason : "unknown reason");
    }
}

/* ---- the report ---------------------------------------------------------------------------- */

static json_t *text(const char *s) {
    return sm_json_text(s, strlen(s));
}

static json_t *key_text(X509 *cert) {
    char name[64] = "", out[128];
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (!key)
        return text("unknown");
    const char *kind = EVP_PKEY_get0_type_name(key);
    size_t n = 0;
    if (EVP_PKEY_get_group_name(key, name, sizeof name, &n) == 1 && n > 0)
        snprintf(out, sizeof out, "%s %s", kind ? kind : "?", name);
    else if (EVP_PKEY_is_a(key, "RSA"))
        snprintf(out, sizeof out, "RSA %d", EVP_PKEY_get_bits(key));
    else
        snprintf(out, sizeof out, "%s", kind ? kind : "?");
    ERR_clear_error();
    return text(out);
}

static json_t *serial_text(X509 *cert) {
    json_t *out = NULL;
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;
    if (hex) {
        for (char *c = hex; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'F' ? *c + 32 : *c);
        out = text(hex);
    }
    OPENSSL_free(hex);
    BN_free(n);
    return out ? out : text("");
}

static json_t *cert_json(X509 *cert) {
    sm_fetch_tls t = {0};
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned n = 0;
    sm_fetch_tls_read(cert, sm_wall_ns(), &t);
    if (X509_digest(cert, EVP_sha256(), digest, &n) == 1)
        sm_hex(digest, n, hex);
    json_t *san = json_array();
    for (size_t i = 0; i < t.n_san; i++) {
        json_array_append_new(san, text(t.san[i]));
        free(t.san[i]);
    }
    const char *sig = OBJ_nid2sn(X509_get_signature_nid(cert));
    json_t *out = json_pack(
        "{s:o, s:o, s:I, s:I, s:f, s:o, s:o, s:s, s:o, s:o}", "subject", text(t.subject), "issuer",
        text(t.issuer), "not_before", (json_int_t)t.not_before, "not_after",
        (json_int_t)t.not_after, "days_left", t.days_left, "san", san, "serial", serial_text(cert),
        "sha256", hex, "key", key_text(cert), "signature", text(sig ? sig : "?"));
    free(t.subject);
    free(t.issuer);
    free(t.san);
    return out;
}

static void problems_json(const finding *f, json_t *out) {
    json_t *words = json_array();
    sm_buf b;
    sm_buf_init(&b, (size_t)PROBLEMS_MAX * (SENTENCE + 2));
    for (size_t i = 0; i < f->n; i++) {
        json_array_append_new(words, text(f->problems[i].word));
        sm_buf_addf(&b, "%s%s", i ? "; " : "", f->problems[i].text);
    }
    json_object_set_new(out, "verified", json_boolean(f->n == 0));
    json_object_set_new(out, "problems", words);
    if (f->n > 0)
        json_object_set_new(out, "error", sm_json_text(b.data, b.len));
    sm_buf_fini(&b);
}

static json_t *report_json(const finding *f, const SSL *ssl, const char *broken) {
    json_t *out = json_object(), *list = json_array();
    int n = sk_X509_num(f->chain);
    for (int i = 0; i < n && i < CHAIN_MAX; i++)
        json_array_append_new(list, cert_json(sk_X509_value(f->chain, i)));
    json_object_set(out, "days_left", json_object_get(json_array_get(list, 0), "days_left"));
    json_object_set_new(out, "chain", list);
    problems_json(f, out);
    if (broken) {
        json_object_set_new(out, "handshake", text(broken));
    } else {
        json_object_set_new(out, "protocol", text(SSL_get_version(ssl)));
        json_object_set_new(out, "cipher", text(SSL_get_cipher_name(ssl)));
    }
    return out;
}

sm_rc sm_nettls_start(sm_netstream *s, const sm_nettls *opts, const sm_netwait *w, json_t **report,
                      sm_err *err) {
    finding f = {.opts = opts, .who = s->who};
    int64_t begin = sm_mono_ns();
    if (report)
        *report = NULL;
    if (s->fd < 0)
        return sm_err_set(err, SM_CLOSED, "%s: the connection is closed", s->who);
    if (s->in.len > 0)
        return sm_err_set(err, SM_PROTO, "%s: sent something before the TLS handshake", s->who);
    sm_rc rc = set_up(s, opts, &f, err);
    if (rc != SM_OK)
        goto out;
    rc = shake(s, w, err);
    s->tls_s = (double)(sm_mono_ns() - begin) / (double)SM_NS_PER_S;
    if (rc == SM_CLOSED)
        goto out;
    if (report && f.chain) {
        *report = report_json(&f, s->ssl, rc == SM_OK ? NULL : err->msg);
        rc = SM_OK;
    } else if (rc == SM_OK && opts->verify && f.n > 0) {
        rc = sm_err_set(err, SM_INVALID, "%s: %s", s->who, f.problems[0].text);
    }
out:
    if (s->ssl)
        SSL_set_app_data(s->ssl, NULL);
    sk_X509_pop_free(f.chain, X509_free);
    if (rc != SM_OK)
        sm_netstream_close(s);
    ERR_clear_error();
    return rc;
}
