#!/bin/sh
# Scenario `failover`: one member of the mailbox group stops answering; mail must be read on the other within two minutes.
set -eu
cutover lab fault --env lab pause ber-mbx-1
sleep 120
cutover lab exec --env lab muc-mbx-1 -- doveadm mailbox status -u probe@nordwind.test messages INBOX
cutover lab fault --env lab heal
