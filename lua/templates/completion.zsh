#compdef selfmon-lua
# Completion of selfmon-lua for zsh: the program itself says what may follow.
_selfmon_lua() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    local -a found open
    found=(${(f)"$(${~words[1]} completion words "$line" 2>/dev/null)"})
    open=(${(M)found:#*[:=]})
    found=(${found:#*[:=]})
    if (( $#found + $#open )); then
        compadd -- $found
        compadd -S '' -- $open
    else
        _files
    fi
}
if [[ $funcstack[1] == _selfmon-lua ]]; then
    _selfmon_lua "$@"
else
    compdef _selfmon_lua selfmon-lua
fi
