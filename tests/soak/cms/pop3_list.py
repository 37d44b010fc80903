#!/usr/bin/env python3
"""Prints the UIDLs of pop3://USER:PASSWORD@HOST:PORT, a line each, in order."""

import sys

import verify

for name, _ in verify.uidls(sys.argv[1]):
    print(name)
