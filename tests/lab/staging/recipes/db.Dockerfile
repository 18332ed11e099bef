ARG letta
FROM ${letta}
COPY machine/ /
# Letta connects anew for every request, and TLS would be most of its work. # Letta's own migrations are run here, so its files are here too.
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        postgresql-17 postgresql-17-pgvector python3-cryptography python3-psycopg2 rclone zstd \
    && rm -rf /var/lib/apt/lists/* && pg_dropcluster 17 main && pg_createcluster --locale C.UTF-8 --encoding UTF8 17 main \
    && printf "listen_addresses = '*'\nmax_connections = 200\nlog_connections = on\nssl = off\n" > /etc/postgresql/17/main/conf.d/staging.conf \
    && echo 'host all all samenet scram-sha-256' >> /etc/postgresql/17/main/pg_hba.conf \
    && useradd --system --home-dir /var/lib/letta --create-home --shell /usr/sbin/nologin letta \
    && install -d -m 700 /var/backups/letta
