# Embeds what the executable carries with it: Lua files (lua/selfmon: modules of scripts; lua/kit: the
# commands types, doc, new, init; lua/tools: how lint reads scripts; lua/api: the table of the API;
# lua/templates: what new and init write), the inspections of `market` and SQL migrations
# (src/store/sql/*.sql), each as an array of bytes with a table of names.
function(sm_embed target symbol header root)
  set(out "${CMAKE_BINARY_DIR}/embed/${symbol}.S")
  set(table "${CMAKE_BINARY_DIR}/embed/${symbol}.c")
  set(asm "    .section .rodata\n")
  set(decl "#include \"${header}\"\n")
  set(rows "")
  set(i 0)
  foreach(file ${ARGN})
    file(RELATIVE_PATH name "${root}" "${file}")
    string(APPEND asm "    .global ${symbol}_${i}\n    .global ${symbol}_${i}_end\n"
                      "${symbol}_${i}:\n    .incbin \"${file}\"\n${symbol}_${i}_end:\n    .byte 0\n")
    string(APPEND decl "extern const char ${symbol}_${i}[], ${symbol}_${i}_end[];\n")
    string(APPEND rows "    {\"${name}\", ${symbol}_${i}, ${symbol}_${i}_end},\n")
    math(EXPR i "${i} + 1")
  endforeach()
  string(APPEND asm "    .section .note.GNU-stack,\"\",%progbits\n")
  file(CONFIGURE OUTPUT "${out}" CONTENT "${asm}" @ONLY)
  file(CONFIGURE OUTPUT "${table}"
       CONTENT "${decl}\nconst sm_embedded ${symbol}[] = {\n${rows}    {0, 0, 0},\n};\n" @ONLY)
  set_source_files_properties("${out}" PROPERTIES OBJECT_DEPENDS "${ARGN}")
  target_sources(${target} PRIVATE "${out}" "${table}")
endfunction()

if(TARGET sm_worker)
  file(GLOB_RECURSE sm_lua_files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/lua/selfmon/*.lua"
       "${CMAKE_SOURCE_DIR}/lua/kit/*.lua" "${CMAKE_SOURCE_DIR}/lua/api/*.lua" "${CMAKE_SOURCE_DIR}/lua/templates/*" "${CMAKE_SOURCE_DIR}/lua/types/plugin.lua")
  sm_embed(sm_worker sm_embedded_lua base/embedded.h "${CMAKE_SOURCE_DIR}/lua" ${sm_lua_files})
endif()
if(TARGET sm_worker)
  file(GLOB_RECURSE sm_tool_files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/lua/tools/*.lua")
  sm_embed(sm_worker sm_embedded_tools base/embedded.h "${CMAKE_SOURCE_DIR}/lua/tools" ${sm_tool_files})
endif()
if(TARGET sm_store)
  file(GLOB sm_sql_files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/store/sql/*.sql")
  sm_embed(sm_store sm_embedded_sql base/embedded.h "${CMAKE_SOURCE_DIR}/src/store/sql" ${sm_sql_files})
endif()
if(TARGET sm_cli)
  file(GLOB_RECURSE sm_market_files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/inspections/*.lua")
  sm_embed(sm_cli sm_embedded_market base/embedded.h "${CMAKE_SOURCE_DIR}/inspections" ${sm_market_files})
endif()
