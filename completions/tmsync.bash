# Completion of tmsync for bash, made from its options by `make completions`.
_tmsync() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" words="" i
    # To bash, --name=value is three words.
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --config) [[ ${COMP_WORDS[i+1]} == "=" ]] && ((i++)); ((i++)) ;;
            -*) ;;
            *) command=${COMP_WORDS[i]}; break ;;
        esac
    done
    case "$command $prev" in
        " --config"|"init --from-twcmanager"|"init --from-compose"|"init --output"|"init --twc-config"|"init --twc-settings"|"check-db --twc-config"|"check-db --pg-hba"|"sync-tokens --twc-config"|"sync-tokens --twc-settings"|"watch-mqtt --twc-config"|"status --twc-config"|"status --twc-settings")
            local IFS=$'\n'
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            return ;;
        "init --sslmode"|"check-db --sslmode"|"sync-tokens --sslmode"|"watch-mqtt --sslmode"|"status --sslmode") words="disable allow prefer require verify-ca verify-full" ;;
        "config --format"|"check-db --format") words="table json" ;;
        "sync-tokens --via") words="auto file http" ;;
        "sync-tokens --format") words="text json" ;;
        "watch-mqtt --format") words="table json log" ;;
        "status --format") words="table json nagios prometheus" ;;
        "init --db-host"|"init --db-port"|"init --db-name"|"init --db-user"|"init --timeout"|"init --mqtt-host"|"init --mqtt-port"|"init --mqtt-user"|"init --namespace"|"init --twc-url"|"check-db --db-host"|"check-db --db-port"|"check-db --db-name"|"check-db --db-user"|"check-db --timeout"|"check-db --client-address"|"check-db --member-of"|"sync-tokens --twc-url"|"sync-tokens --db-host"|"sync-tokens --db-port"|"sync-tokens --db-name"|"sync-tokens --db-user"|"sync-tokens --timeout"|"watch-mqtt --car"|"watch-mqtt --duration"|"watch-mqtt --interval"|"watch-mqtt --exec"|"watch-mqtt --mqtt-host"|"watch-mqtt --mqtt-port"|"watch-mqtt --mqtt-user"|"watch-mqtt --namespace"|"watch-mqtt --db-host"|"watch-mqtt --db-port"|"watch-mqtt --db-name"|"watch-mqtt --db-user"|"watch-mqtt --timeout"|"status --wait"|"status --mqtt-host"|"status --mqtt-port"|"status --mqtt-user"|"status --namespace"|"status --twc-url"|"status --db-host"|"status --db-port"|"status --db-name"|"status --db-user"|"status --timeout"|"demo --duration")
            return ;;
        *)
            case $command in
                "") words="init config check-db sync-tokens watch-mqtt status demo --config --verbose -v --quiet -q --version --install-completion --show-completion --help -h" ;;
                init) words="--from-twcmanager --from-compose --output --force --non-interactive --db-host --db-port --db-name --db-user --sslmode --timeout --mqtt-host --mqtt-port --mqtt-user --mqtt-tls --no-mqtt-tls --namespace --twc-config --twc-settings --twc-url --help -h" ;;
                config) words="--all --format --json --help -h" ;;
                check-db) words="--db-host --db-port --db-name --db-user --sslmode --timeout --twc-config --pg-hba --offline --client-address --client-tls --no-client-tls --member-of --apply --format --json --help -h" ;;
                sync-tokens) words="--via --dry-run --check --force --twc-config --twc-settings --twc-url --db-host --db-port --db-name --db-user --sslmode --timeout --format --json --help -h" ;;
                watch-mqtt) words="--car --once --duration --interval --wait --with-db --exec --mqtt-host --mqtt-port --mqtt-user --mqtt-tls --no-mqtt-tls --namespace --twc-config --db-host --db-port --db-name --db-user --sslmode --timeout --format --json --help -h" ;;
                status) words="--wait --mqtt-host --mqtt-port --mqtt-user --mqtt-tls --no-mqtt-tls --namespace --twc-config --twc-settings --twc-url --db-host --db-port --db-name --db-user --sslmode --timeout --format --json --help -h" ;;
                demo) words="--keep --duration --help -h" ;;
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _tmsync tmsync
