# Completion of selfmon-lua for bash: the program itself says what may follow.
_selfmon_lua() {
    local line=${COMP_LINE:0:COMP_POINT} word=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]/#\~/$HOME} whole cut one
    whole=${line##*[[:space:]]}
    [[ $word == [:=@] ]] && word=
    cut=${whole%"$word"} # bash splits words at : = and @
    type -P -- "$program" >/dev/null || program=selfmon-lua
    COMPREPLY=()
    while IFS= read -r one; do
        [[ $one == "$whole"* ]] && COMPREPLY+=("${one#"$cut"}")
    done < <("$program" completion words "$line" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _selfmon_lua selfmon-lua
