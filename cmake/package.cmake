# What an installation has besides the program, and the Debian package (`make deb`).
#
# `cmake --install` puts the program, the shipped inspections, the man pages and the documents in place.
# What only the package has (unit, configuration, copyright, …) is the component `debian`, which is left
# out unless it is asked for, as CPack below does.
include(GNUInstallDirs)
install(TARGETS selfmon-lua RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY inspections/ DESTINATION ${CMAKE_INSTALL_DATADIR}/selfmon-lua/inspections)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}
        FILES_MATCHING PATTERN "*.md" PATTERN "internals" EXCLUDE PATTERN "man" EXCLUDE)

install(FILES lua/templates/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME selfmon-lua)
install(FILES lua/templates/completion.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
        RENAME _selfmon-lua)

find_program(GZIP gzip REQUIRED)
function(sm_compress out in)
  add_custom_command(OUTPUT "${out}" DEPENDS "${in}" VERBATIM
                     COMMAND sh -c "\"$0\" -9nc \"$1\" >\"$2\"" "${GZIP}" "${in}" "${out}")
endfunction()

# Man pages are written in scdoc; without it everything is built but these.
find_program(SCDOC scdoc)
set(pages "")
if(SCDOC)
  foreach(page selfmon-lua.1 selfmon.conf.lua.5)
    set(source "${CMAKE_SOURCE_DIR}/docs/man/${page}.scd")
    set(roff "${CMAKE_BINARY_DIR}/man/${page}")
    add_custom_command(OUTPUT "${roff}" DEPENDS "${source}" VERBATIM
                       COMMAND sh -c "SOURCE_DATE_EPOCH=0 \"$0\" <\"$1\" >\"$2\"" "${SCDOC}" "${source}" "${roff}")
    sm_compress("${roff}.gz" "${roff}")
    list(APPEND pages "${roff}.gz")
    string(REGEX REPLACE ".*\\." "" section "${page}")
    install(FILES "${roff}.gz" DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
  endforeach()
endif()
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/man")

set(changelog "${CMAKE_BINARY_DIR}/changelog.gz")
sm_compress("${changelog}" "${CMAKE_SOURCE_DIR}/packaging/changelog")
add_custom_target(package_files ALL DEPENDS ${pages} "${changelog}")

set(only COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES packaging/selfmon-lua.service DESTINATION /lib/systemd/system ${only})
install(FILES packaging/selfmon.conf.lua DESTINATION /etc/selfmon-lua ${only})
install(FILES packaging/inspections.README DESTINATION /etc/selfmon-lua/inspections RENAME README ${only})
install(FILES inspections/host/disk.lua inspections/host/load.lua inspections/host/memory.lua
        DESTINATION /etc/selfmon-lua/inspections/host ${only})
install(FILES packaging/copyright "${changelog}" DESTINATION ${CMAKE_INSTALL_DOCDIR} ${only})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME selfmon-lua)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "the selfmon-lua authors <selfmon-lua@localhost.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs inspections written in Lua and reports their events")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Small Lua scripts inspect machines, sites and certificates on cron schedules,
each in a disposable process with limits, and report events to a workspace of
TrueWatch or Guance Cloud, or keep them on this machine.
.
An event is on the disk when the script's report returns, and is sent until the
platform has confirmed it.")
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};${PROJECT_NAME};ALL;/"
                                 "${CMAKE_BINARY_DIR};${PROJECT_NAME};debian;/")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates, tzdata")
file(WRITE "${CMAKE_BINARY_DIR}/deb/conffiles" "/etc/selfmon-lua/selfmon.conf.lua
/etc/selfmon-lua/inspections/README
/etc/selfmon-lua/inspections/host/disk.lua
/etc/selfmon-lua/inspections/host/load.lua
/etc/selfmon-lua/inspections/host/memory.lua
")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${CMAKE_BINARY_DIR}/deb/conffiles"
    "${CMAKE_SOURCE_DIR}/packaging/postinst" "${CMAKE_SOURCE_DIR}/packaging/prerm"
    "${CMAKE_SOURCE_DIR}/packaging/postrm")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
