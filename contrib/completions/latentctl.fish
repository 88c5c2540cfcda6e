# Completion for latentctl and latentd: the programs themselves say what may come next.
function __latentctl_offer
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines
    if string match -q '*latentd' -- $words[1]
        set lines ($words[1] --complete "$words[-1]" "$current" 2>/dev/null)
    else
        set lines ($words[1] complete $words[2..-1] "$current" 2>/dev/null)
    end
    for line in $lines
        switch $line
            case @file
                __fish_complete_path "$current"
            case @folder
                __fish_complete_directories "$current"
            case '*'
                echo $line
        end
    end
end
complete -c latentctl -f -a '(__latentctl_offer)'
complete -c latentd -f -a '(__latentctl_offer)'
