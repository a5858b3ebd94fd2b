#!/bin/sh
# Stands in for an agent such as `claude -p`: it reads what it is asked for and prints its answer.
set -eu
wish=$(head -n 1)
echo "# Report"
echo
echo "Asked: $wish"
echo "Nothing is broken."
