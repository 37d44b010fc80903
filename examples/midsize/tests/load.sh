#!/bin/sh
# Scenario `load`: the busiest minute of the inventory, four times over (61,000 messages a day arrive today).
set -eu
cutover lab exec --env lab gw-1 -- smtp-source -c -l 76800 -m 680 -s 20 -f load@nordwind.test -t probe@nordwind.test ber-mbx-1:25
