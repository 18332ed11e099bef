ARG base
FROM ${base}
# The only fake of this system: no model service can be had here.
COPY fake/ /opt/fake/
COPY model.service /etc/systemd/system/model.service
RUN systemctl enable model.service
