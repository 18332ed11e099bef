ARG letta
FROM ${letta}
RUN useradd --system --home-dir /var/lib/letta --create-home --shell /usr/sbin/nologin letta \
    && install -d -m 750 -o letta -g letta /var/lib/letta /var/lib/letta/memory && install -d -m 750 -g letta /etc/letta
COPY letta.service /etc/systemd/system/letta.service
