/* engine: names the database library for `--version`. */
#include "store/store.h"
#include <sqlite3.h>

const char *sm_store_engine(void) {
    return sqlite3_libversion();
}
