/* text: cleaned texts (script-api 1.4). Pure. */
#pragma once
#include <stddef.h>

/* Cleans a doc or message: leading and trailing blank lines removed, common margin removed (first
 * line counted only if it begins with white space), tabs are one column, trailing white space of
 * lines removed, CRLF -> LF. malloc'd, NUL-terminated; *out_n its length. */
char *sm_text_clean(const char *p, size_t n, size_t *out_n);
