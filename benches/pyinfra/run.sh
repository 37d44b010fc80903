#!/bin/sh
# cutover beside pyinfra's dry run alone: the same hosts and resources as ../ansible/run.sh, without Ansible's minutes.
exec "$(dirname "$0")/../ansible/run.sh" --tools pyinfra,cutover "$@"
