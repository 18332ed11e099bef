ARG base
FROM ${base}
COPY machine/ /
# The network has these containers on it and nobody else.
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-redis redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && sed -i -e 's/^bind .*/bind * -::*/' -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
