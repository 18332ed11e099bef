ARG debian
FROM ${debian}
# The machine's own source of packages, proxy and authorities; Debian's defaults where the machine has none.
COPY machine/ /
RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        ca-certificates curl dbus iproute2 openssh-server procps python3 sudo systemd systemd-sysv \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && useradd --create-home --shell /bin/bash --password '*' ops && install -d -m 700 -o ops -g ops /home/ops/.ssh \
    && echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops && chmod 440 /etc/sudoers.d/ops \
    && printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nPermitRootLogin no\nUseDNS no\nUsePAM no\nMaxStartups 50\n' > /etc/ssh/sshd_config.d/staging.conf \
    && systemctl disable ssh.socket 2>/dev/null; systemctl enable ssh.service \
    && systemctl mask getty.target console-getty.service systemd-logind.service systemd-timesyncd.service apt-daily.timer \
        apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer systemd-networkd.service systemd-resolved.service \
    && printf '[Unit]\nDescription=Keys of this host\nBefore=ssh.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n[Install]\nWantedBy=ssh.service\n' \
        > /etc/systemd/system/host-keys.service && systemctl enable host-keys.service \
    && printf '[Unit]\nDescription=No way out\nBefore=ssh.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=-/usr/sbin/ip route del default\n[Install]\nWantedBy=multi-user.target\n' \
        > /etc/systemd/system/no-way-out.service && systemctl enable no-way-out.service
STOPSIGNAL SIGRTMIN+3
# systemd 256 and newer boots on the first generation of control groups only when told that this is meant.
CMD ["/usr/lib/systemd/systemd", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
