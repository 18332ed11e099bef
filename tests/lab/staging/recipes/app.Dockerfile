ARG letta
FROM ${letta}
RUN useradd --system --home-dir /var/lib/letta --create-home --shell /usr/sbin/nologin letta \
    && install -d -m 750 -o letta -g letta /var/lib/letta /var/lib/letta/memory && install -d -m 750 -g letta /etc/letta
# Another release, that is started by mistake: this folder first on PYTHONPATH, over the dependencies of ours. Compiled once, as ours is.
COPY older/ /opt/letta-older/
RUN /opt/letta/venv/bin/python -m compileall -q /opt/letta-older/letta
COPY letta.service /etc/systemd/system/letta.service
