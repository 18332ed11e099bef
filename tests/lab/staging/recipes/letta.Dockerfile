ARG base
FROM ${base}
COPY letta/ /opt/letta/
# What is imported is compiled once, here: the server runs as a user who cannot write below /opt.
RUN ln -s /usr/bin/python3 /opt/letta/venv/bin/python && ln -s python /opt/letta/venv/bin/python3 \
    && HOME=/tmp/home LETTA_PG_URI=postgresql://nobody@127.0.0.1:9/none /opt/letta/venv/bin/python -c 'import alembic.config, letta.server.rest_api.app' \
    && rm -rf /tmp/home \
    # Each call of the model service reads all authorities anew, of which these servers need none.
    && sed -n -e '/-BEGIN/,/-END/p' -e '/-END/q' /opt/letta/venv/lib/python3*/site-packages/certifi/cacert.pem > /opt/letta/authority.pem
