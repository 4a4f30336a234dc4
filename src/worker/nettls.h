/* nettls: TLS upon a stream: handshake, and what there is to say about the certificates shown, also
 * when they are no good. Without Lua. On the thread that owns the stream. */
#pragma once
#include "worker/netstream.h"

typedef struct sm_nettls {
    const char *servername; /* the name (or address) the certificate must be for */
    bool verify;            /* a certificate that is not good ends the handshake: SM_INVALID */
    const char *ca;         /* PEM instead of the system's certificates; NULL */
    int64_t at;             /* Unix seconds to judge by; 0: now */
    X509_STORE *trust;      /* what sm_nettls_trust gave, borrowed; used when there is no ca */
} sm_nettls;

/* The system's certificates: SSL_CERT_FILE, SSL_CERT_DIR, else OpenSSL's own places. Reading them
 * takes some 25 ms of CPU, so a run does it once. May be used by several threads. Owned by the
 * caller (X509_STORE_free); NULL when there is no memory. */
X509_STORE *sm_nettls_trust(void);

/* Shakes hands on a connected stream; s->ssl is set then, also with SM_OK and a bad certificate
 * when `verify` is off. *report (may be NULL; new reference, NULL when no certificate was shown):
 * {verified, error?, problems [words], protocol?, cipher?, chain [{subject, issuer, not_before,
 * not_after, days_left, san, serial, sha256, key, signature}], days_left, handshake?}. Words:
 * expired not_yet_valid name self_signed untrusted weak purpose invalid. With a report the rc is
 * SM_OK even when the peer broke off after it had shown its certificate: `handshake` says so. */
sm_rc sm_nettls_start(sm_netstream *s, const sm_nettls *opts, const sm_netwait *w, json_t **report,
                      sm_err *err);
/* What a plain connection says before TLS. Known protocols, ending in NULL: */
extern const char *const sm_nettls_protocols[];
sm_rc sm_nettls_ask(sm_netstream *s, const char *protocol, const sm_netwait *w, sm_err *err);
