/* netstarttls: what is said in the clear before TLS begins: SMTP, IMAP, POP3, FTP,
 * PostgreSQL and MySQL. Bounded reads; a refusal is SM_PROTO with the server's words. Called by
 * netops.c before nettls.c shakes hands.
 */
#include "worker/nettls.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINES_MAX = 100 };

const char *const sm_nettls_protocols[] = {"smtp",     "imap",  "pop3", "ftp",
                                           "postgres", "mysql", NULL};

static sm_rc refused(const sm_netstream *s, const char *p, size_t n, sm_err *err) {
    while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n'))
        n--;
    char *shown = sm_str_printable(p, n, 200);
    sm_err_set(err, SM_PROTO, "%s: does not begin TLS; it says \"%s\"", s->who, shown);
    free(shown);
    return SM_PROTO;
}

/* Reads lines until one begins with `want`. For SMTP and FTP "220" the lines "220-" go before it;
 * for the tagged ones anything untagged is passed over when `skip`. */
static sm_rc expect(sm_netstream *s, const char *want, bool skip, const sm_netwait *w,
                    sm_err *err) {
    size_t len = strlen(want);
    for (int i = 0; i < LINES_MAX; i++) {
        size_t n = 0;
        sm_rc rc = sm_netstream_line(s, &n, w, err);
        if (rc != SM_OK)
            return rc;
        const char *p = s->in.data;
        bool hit = n > len && strncasecmp(p, want, len) == 0;
        bool more = hit && p[len] == '-' && p[0] >= '0' && p[0] <= '9';
        if (hit && !more) {
            sm_buf_consume(&s->in, n);
            return SM_OK;
        }
        if (!more && !(skip && p[0] == '*'))
            return refused(s, p, n, err);
        sm_buf_consume(&s->in, n);
    }
    return sm_err_set(err, SM_PROTO, "%s: says too much before TLS", s->who);
}

static sm_rc say(sm_netstream *s, const char *text, const char *want, bool skip,
                 const sm_netwait *w, sm_err *err) {
    sm_rc rc = sm_netstream_send(s, text, strlen(text), w, err);
    return rc == SM_OK ? expect(s, want, skip, w, err) : rc;
}

static sm_rc ask_postgres(sm_netstream *s, const sm_netwait *w, sm_err *err) {
    static const char request[8] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x2f};
    sm_rc rc = sm_netstream_send(s, request, sizeof request, w, err);
    if (rc == SM_OK)
        rc = sm_netstream_need(s, 1, w, err);
    if (rc != SM_OK)
        return rc;
    if (s->in.data[0] != 'S')
        return sm_err_set(err, SM_PROTO, "%s: %s", s->who,
                          s->in.data[0] == 'N' ? "this PostgreSQL server does not offer TLS"
                                               : "is not a PostgreSQL server");
    sm_buf_consume(&s->in, 1);
    return SM_OK;
}

/* The server's greeting, then a request for TLS: protocol 4.1, TLS, secure connection. */
static sm_rc ask_mysql(sm_netstream *s, const sm_netwait *w, sm_err *err) {
    static const char request[36] = {32, 0, 0, 1, 0, (char)0x8a, 0, 0, 0, 0, 0, 1, 45};
    sm_rc rc = sm_netstream_need(s, 5, w, err);
    if (rc != SM_OK)
        return rc;
    const unsigned char *p = (const unsigned char *)s->in.data;
    size_t n = (size_t)(p[0] | p[1] << 8 | p[2] << 16);
    if (n < 20 || n > 4096 || p[4] != 10)
        return sm_err_set(err, SM_PROTO, "%s: %s", s->who,
                          p[4] == 0xff ? "this MySQL server refuses us" : "is not a MySQL server");
    rc = sm_netstream_need(s, n + 4, w, err);
    if (rc != SM_OK)
        return rc;
    p = (const unsigned char *)s->in.data;
    const unsigned char *zero = memchr(p + 5, 0, n - 1);
    size_t at = zero ? (size_t)(zero - p) + 1 + 4 + 8 + 1 : n + 4;
    if (at + 2 > n + 4 || !(p[at + 1] & 0x08))
        return sm_err_set(err, SM_PROTO, "%s: this MySQL server does not offer TLS", s->who);
    sm_buf_consume(&s->in, n + 4);
    return sm_netstream_send(s, request, sizeof request, w, err);
}

sm_rc sm_nettls_ask(sm_netstream *s, const char *protocol, const sm_netwait *w, sm_err *err) {
    sm_rc rc = SM_OK;
    if (strcmp(protocol, "smtp") == 0) {
        rc = expect(s, "220", false, w, err);
        if (rc == SM_OK)
            rc = say(s, "EHLO selfmon-lua\r\n", "250", false, w, err);
        if (rc == SM_OK)
            rc = say(s, "STARTTLS\r\n", "220", false, w, err);
    } else if (strcmp(protocol, "imap") == 0) {
        rc = expect(s, "* OK", false, w, err);
        if (rc == SM_OK)
            rc = say(s, "a1 STARTTLS\r\n", "a1 OK", true, w, err);
    } else if (strcmp(protocol, "pop3") == 0) {
        rc = expect(s, "+OK", false, w, err);
        if (rc == SM_OK)
            rc = say(s, "STLS\r\n", "+OK", false, w, err);
    } else if (strcmp(protocol, "ftp") == 0) {
        rc = expect(s, "220", false, w, err);
        if (rc == SM_OK)
            rc = say(s, "AUTH TLS\r\n", "234", false, w, err);
    } else if (strcmp(protocol, "postgres") == 0) {
        rc = ask_postgres(s, w, err);
    } else {
        rc = ask_mysql(s, w, err);
    }
    return rc;
}
