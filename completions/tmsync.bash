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
        " --config"|"init --from-twcmanager"|"init --from-compose"|"init --output"|"init --twc-config"|"init --twc-settings"|"init --config"|"config --config"|"check-db --pg-hba"|"check-db --twc-config"|"check-db --config"|"sync-tokens --twc-config"|"sync-tokens --twc-settings"|"sync-tokens --config"|"watch-mqtt --twc-config"|"watch-mqtt --config"|"status --twc-config"|"status --twc-settings"|"status --config"|"serve --twc-config"|"serve --twc-settings"|"serve --config"|"demo --config")
            local IFS=$'\n'
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            return ;;
        "init --sslmode"|"check-db --sslmode"|"sync-tokens --sslmode"|"watch-mqtt --sslmode"|"status --sslmode"|"serve --sslmode") words="disable allow prefer require verify-ca verify-full" ;;
        "init --via"|"sync-tokens --via") words="auto file http" ;;
        "config --format"|"check-db --format") words="table json" ;;
        "sync-tokens --format") words="text json" ;;
        "watch-mqtt --format") words="table json log" ;;
        "status --format") words="table json nagios prometheus" ;;
        "serve --format") words="log json" ;;
        "init --compose-service"|"init --db-host"|"init --db-port"|"init --db-name"|"init --db-user"|"init --timeout"|"init --mqtt-host"|"init --mqtt-port"|"init --mqtt-user"|"init --namespace"|"init --twc-url"|"init --listen"|"init --upstream"|"check-db --client-address"|"check-db --member-of"|"check-db --db-host"|"check-db --db-port"|"check-db --db-name"|"check-db --db-user"|"check-db --timeout"|"sync-tokens --db-host"|"sync-tokens --db-port"|"sync-tokens --db-name"|"sync-tokens --db-user"|"sync-tokens --timeout"|"sync-tokens --twc-url"|"watch-mqtt --car"|"watch-mqtt --duration"|"watch-mqtt --interval"|"watch-mqtt --exec"|"watch-mqtt --db-host"|"watch-mqtt --db-port"|"watch-mqtt --db-name"|"watch-mqtt --db-user"|"watch-mqtt --timeout"|"watch-mqtt --mqtt-host"|"watch-mqtt --mqtt-port"|"watch-mqtt --mqtt-user"|"watch-mqtt --namespace"|"status --wait"|"status --db-host"|"status --db-port"|"status --db-name"|"status --db-user"|"status --timeout"|"status --mqtt-host"|"status --mqtt-port"|"status --mqtt-user"|"status --namespace"|"status --twc-url"|"serve --db-host"|"serve --db-port"|"serve --db-name"|"serve --db-user"|"serve --timeout"|"serve --mqtt-host"|"serve --mqtt-port"|"serve --mqtt-user"|"serve --namespace"|"serve --twc-url"|"serve --listen"|"serve --upstream"|"demo --duration")
            return ;;
        *)
            case $command in
                "") words="init config check-db sync-tokens watch-mqtt status serve demo --config --verbose -v --quiet -q --version --install-completion --show-completion --help -h" ;;
                init) words="--from-twcmanager --from-compose --compose-service --output --force --non-interactive --db-host --db-port --db-name --db-user --sslmode --timeout --mqtt-host --mqtt-port --mqtt-user --namespace --mqtt-tls --no-mqtt-tls --twc-config --twc-settings --twc-url --via --listen --upstream --config --verbose -v --quiet -q --help -h" ;;
                config) words="--all --format --json --config --verbose -v --quiet -q --help -h" ;;
                check-db) words="--pg-hba --offline --client-address --client-tls --no-client-tls --member-of --apply --db-host --db-port --db-name --db-user --sslmode --timeout --twc-config --format --json --config --verbose -v --quiet -q --help -h" ;;
                sync-tokens) words="--dry-run --check --force --db-host --db-port --db-name --db-user --sslmode --timeout --twc-config --twc-settings --twc-url --via --format --json --config --verbose -v --quiet -q --help -h" ;;
                watch-mqtt) words="--car --once --duration --interval --wait --with-db --exec --db-host --db-port --db-name --db-user --sslmode --timeout --mqtt-host --mqtt-port --mqtt-user --namespace --mqtt-tls --no-mqtt-tls --twc-config --format --json --config --verbose -v --quiet -q --help -h" ;;
                status) words="--wait --db-host --db-port --db-name --db-user --sslmode --timeout --mqtt-host --mqtt-port --mqtt-user --namespace --mqtt-tls --no-mqtt-tls --twc-config --twc-settings --twc-url --format --json --config --verbose -v --quiet -q --help -h" ;;
                serve) words="--renew-local-token --unpublish --db-host --db-port --db-name --db-user --sslmode --timeout --mqtt-host --mqtt-port --mqtt-user --namespace --mqtt-tls --no-mqtt-tls --twc-config --twc-settings --twc-url --listen --upstream --format --json --config --verbose -v --quiet -q --help -h" ;;
                demo) words="--keep --duration --config --verbose -v --quiet -q --help -h" ;;
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _tmsync tmsync
