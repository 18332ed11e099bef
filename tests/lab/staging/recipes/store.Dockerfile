ARG base
FROM ${base}
RUN useradd --create-home --shell /bin/bash --password '*' letta && install -d -m 700 -o letta -g letta /srv/letta /home/letta/.ssh
