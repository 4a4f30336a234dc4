/* dnsmsg: DNS questions to bytes, and answers from bytes (RFC 1035, 2782, 3596, 8659). Pure.
 *
 * The reader believes nothing: lengths are checked against the message, compression pointers only
 * lead backwards and are counted, names are bounded, and text is made printable in the way of zone
 * files (\DDD). It is a fuzz target (tests/fuzz/dns.c).
 */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SM_DNS_MESSAGE_MAX = 65535,
    SM_DNS_QUESTION_MAX = 12 + 255 + 4,
    SM_DNS_NAME_TEXT = 1024, /* a name as text with its escapes, and a NUL */
    SM_DNS_RECORDS_MAX = 2000,
    SM_DNS_TEXT_MAX = 512 << 10 /* names and values of one answer together */
};

/* "A" AAAA CNAME MX NS TXT SOA SRV CAA PTR, in any case: the type's number, or 0. */
int sm_dns_type(const char *name);
/* Names of the types, ending in NULL. */
extern const char *const sm_dns_types[];
/* Writes the question for name (a final dot is fine, an empty name or "." is the root) with
 * recursion wanted; *n bytes. SM_INVALID says what is wrong with the name. */
sm_rc sm_dns_question(const char *name, int type, uint16_t id, uint8_t out[SM_DNS_QUESTION_MAX],
                      size_t *n, sm_err *err);
/* The name for a PTR question of an address; false when text is none. */
bool sm_dns_reverse(const char *address, char out[80]);

/* Reads the answer to the question (question, question_n). *out new reference: {rcode,
 * authoritative, truncated, records [{name, type, ttl, value, …}], values [text of those of the
 * type asked for], ttl?}. More of a record: MX preference exchange; SRV priority weight port
 * target; SOA mname rname serial refresh retry expire minimum; CAA flags tag. SM_NOT_FOUND: it is
 * no answer to this question (pass it over); SM_PROTO: it is, and cannot be read. */
sm_rc sm_dns_read(const uint8_t *p, size_t n, const uint8_t *question, size_t question_n,
                  json_t **out, sm_err *err);
