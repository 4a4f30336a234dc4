/* sign: the DWAY signature of a DataWay with access keys (platform-facts 4.1). Pure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* RFC 1123 date in GMT: "Wed, 20 Nov 2019 09:56:06 GMT". */
void sm_sign_date(int64_t unix_s, char out[32]);
/* Value of the Authorization header, "DWAY AK:SIGNATURE", over method, MD5 of body, content type
 * and date. Mode `empty` of the design is body "" and content type "". malloc'd; NULL where the
 * system's OpenSSL forbids MD5 or SHA-1. */
char *sm_sign_dway(const char *access_key, const void *secret_key, size_t secret_n,
                   const char *method, const char *content_type, const void *body, size_t n,
                   const char *date);
