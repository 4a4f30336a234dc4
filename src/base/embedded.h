/* embedded: files carried inside the executable (cmake/embed.cmake makes the tables). */
#pragma once

typedef struct sm_embedded {
    const char *name;        /* path below its folder, "selfmon/testing.lua"; NULL ends the table */
    const char *begin, *end; /* the bytes; one NUL follows end */
} sm_embedded;

extern const sm_embedded sm_embedded_lua[];    /* lua/, linked into src/worker */
extern const sm_embedded sm_embedded_tools[];  /* lua/tools/, linked into src/worker */
extern const sm_embedded sm_embedded_sql[];    /* src/store/sql/, sorted by name */
extern const sm_embedded sm_embedded_market[]; /* inspections/, linked into src/cli */
