/* secret: bytes that nothing can format, zeroed when freed; and the mask, the last net that keeps
 * known values out of logs and answers.
 *
 * Every secret made here joins the process's mask (value as it is, URL-encoded, JSON-escaped, hex,
 * and base64 at three offsets; values shorter than 6 bytes are not masked), and what is left of it
 * before a "…" where a sentence shortened it. Thread-safe.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct sm_secret sm_secret;

/* Copies the bytes; the caller wipes its own copy (explicit_bzero). */
sm_secret *sm_secret_new(const void *p, size_t n);
void sm_secret_free(sm_secret *s); /* NULL is fine */
/* Borrowed; never log, never copy into anything that is stored. */
const char *sm_secret_bytes(const sm_secret *s, size_t *n);
/* Copy of text with every known secret replaced by "***"; caller frees. */
char *sm_mask(const char *p, size_t n, size_t *out_n);
/* True when text holds a known secret: lets a caller skip the copy. */
bool sm_mask_needed(const char *p, size_t n);
/* Before a text is cut or escaped, after which a secret in it is no longer known: NULL, and nothing
 * done, when it holds none; else a masked copy, to which *p and *n then point, and which the caller
 * frees. */
char *sm_mask_borrowed(const char **p, size_t *n);
