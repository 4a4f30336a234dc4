/* fetch_tls: certificate facts of a transfer, also of one that fails verification.
 *
 * A verify callback watches and never decides: it returns what OpenSSL found. The SSL_CTX points to
 * the transfer only until its connection is up; renegotiation, which would call it again later on a
 * pooled connection, is switched off. On a reused connection the certificate is read from the SSL
 * object. Runs in the engine's thread.
 */
#include "worker/fetch_internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAN_MAX = 1000, NAME_MAX_BYTES = 4096 };

static char *name_text(const X509_NAME *name) {
    char *out = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        char *p = NULL;
        long n = BIO_get_mem_data(bio, &p);
        if (p && n > 0) {
            size_t len = (size_t)n > NAME_MAX_BYTES ? NAME_MAX_BYTES : (size_t)n;
            out = sm_utf8_repair(p, len, &(size_t){0}, NULL);
        }
    }
    BIO_free(bio);
    return out ? out : sm_strdup("");
}

static int64_t unix_time(const ASN1_TIME *t) {
    struct tm tm;
    memset(&tm, 0, sizeof(tm));
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static char *dns_text(const ASN1_STRING *s) {
    const unsigned char *p = ASN1_STRING_get0_data(s);
    int n = ASN1_STRING_length(s);
    for (int i = 0; i < n; i++)
        if (p[i] <= 0x20 || p[i] >= 0x7f)
            return NULL; /* an IA5String that hides something is no name */
    return n > 0 ? sm_memdup(p, (size_t)n) : NULL;
}

static char *ip_text(const ASN1_STRING *s) {
    char text[INET6_ADDRSTRLEN];
    int n = ASN1_STRING_length(s);
    if (n != 4 && n != 16)
        return NULL;
    const char *p =
        inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof(text));
    return p ? sm_strdup(p) : NULL;
}

static void read_san(X509 *cert, sm_fetch_tls *out) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = sk_GENERAL_NAME_num(names); /* -1 for NULL */
    if (n > SAN_MAX)
        n = SAN_MAX;
    if (n > 0)
        out->san = sm_calloc((size_t)n, sizeof(char *));
    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        char *text = NULL;
        if (g->type == GEN_DNS)
            text = dns_text(g->d.dNSName);
        else if (g->type == GEN_IPADD)
            text = ip_text(g->d.iPAddress);
        if (text)
            out->san[out->n_san++] = text;
    }
    GENERAL_NAMES_free(names);
}

void sm_fetch_tls_read(X509 *cert, int64_t wall_ns, sm_fetch_tls *out) {
    out->present = true;
    out->subject = name_text(X509_get_subject_name(cert));
    out->issuer = name_text(X509_get_issuer_name(cert));
    out->not_before = unix_time(X509_get0_notBefore(cert));
    out->not_after = unix_time(X509_get0_notAfter(cert));
    out->days_left =
        ((double)out->not_after - (double)wall_ns / (double)SM_NS_PER_S) / (24.0 * 3600.0);
    read_san(cert, out);
}

static int on_verify(int ok, X509_STORE_CTX *ctx) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    sm_transfer *t = ssl ? SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) : NULL;
    if (!t)
        return ok;
    X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
    if (leaf && !t->res->tls.present)
        sm_fetch_tls_read(leaf, sm_wall_ns(), &t->res->tls);
    if (!ok && t->verify_error == X509_V_OK)
        t->verify_error = X509_STORE_CTX_get_error(ctx);
    return ok;
}

CURLcode sm_fetch_tls_setup(CURL *easy, void *ssl_ctx, void *transfer) {
    (void)easy;
    SSL_CTX *ctx = ssl_ctx;
    SSL_CTX_set_app_data(ctx, transfer);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(ctx, SSL_CTX_get_verify_mode(ctx), on_verify);
    return CURLE_OK;
}

void sm_fetch_tls_peer(sm_transfer *t) {
    struct curl_tlssessioninfo *info = NULL;
    if (curl_easy_getinfo(t->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
        return;
    SSL *ssl = info->internals;
    SSL_CTX_set_app_data(SSL_get_SSL_CTX(ssl), NULL); /* the connection outlives the transfer */
    X509 *cert = SSL_get1_peer_certificate(ssl);
    if (cert && !t->res->tls.present)
        sm_fetch_tls_read(cert, sm_wall_ns(), &t->res->tls);
    X509_free(cert);
}
