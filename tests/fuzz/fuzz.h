/* fuzz: what every target here has: one function that takes any bytes, and `holds`, which ends the
 * process with a sentence when something that must be true of every input is not.
 *
 * A target is built twice: with clang's libFuzzer (-DSM_FUZZ=ON, `make fuzz`), which looks for
 * inputs, and with replay.c, which runs the corpus in tests/data/fuzz/<target> once (`make test`).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void holds(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}
