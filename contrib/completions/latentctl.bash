# shellcheck shell=bash
# Completion for latentctl and latentd: the programs themselves say what may come next.
_latentctl()
{
	local current=${COMP_WORDS[COMP_CWORD]} line
	local -a lines
	if [[ ${COMP_WORDS[0]##*/} == latentd ]]; then
		mapfile -t lines < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[COMP_CWORD - 1]}" "$current" 2>/dev/null)
	else
		mapfile -t lines < <("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	fi
	COMPREPLY=()
	for line in "${lines[@]}"; do
		case $line in
		@file)
			compopt -o filenames 2>/dev/null
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
		@folder)
			compopt -o filenames 2>/dev/null
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$current") ;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done
}
complete -F _latentctl latentctl latentd
