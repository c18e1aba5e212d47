"""Verdicts of a real PostgreSQL 15.

Roles of that server: twc in readers, deep in mid and admins, boss a superuser, grafana with its password stored as MD5.
"""

from __future__ import annotations

Probe = tuple[str, str, str, bool, str]
"""(user, database, address, TLS, what the server demanded)"""

FILES = {"dbs.txt": 'teslamate\n"Tesla Mate", postgres\n# x\n'}

RESULTS: list[tuple[str, str, list[Probe]]] = [
    # each: text of pg_hba.conf, text of users.txt, probes
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host "Tesla Mate", all, all all  \t 127.0.0.1/32   password\n'
            'host   grafana\t"all"  \t 127.0.0.0/16   password\t#no space\n'
            'host  \t sameuser "+readers" 127.0.0.1 255.255.255.255 password\n'
            'hostnogssenc  \t all,twc,"Tesla Mate"\ttwc, all, "a,b"  \t 127.0.0.64/24   reject\n'
        ),
        "+readers, boss\n",
        [
            ("twc", "Tesla Mate", "127.0.0.2", True, "reject"),
            ("deep", "replication", "127.0.0.2", True, "reject"),
            ("a,b", "teslamate", "127.9.8.7", True, "no-entry"),
            ("twc", "twc", "127.0.0.2", False, "reject"),
            ("nobody", "teslamate", "127.9.8.7", False, "no-entry"),
            ("all", "postgres", "127.200.0.1", True, "no-entry"),
            ("teslamate", "all", "127.200.0.1", True, "no-entry"),
            ("a,b", "replication", "127.0.0.1", False, "password"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "\n"
            'host   "twc"   +teslamate, "a,b", all\t127.0.0.77/24   reject\n'
            "host all,all  \t nobody  \t 127.128.0.9/8   trust\n"
            "\n"
            "hostssl\tall, all\tall   127.0.0.0   255.255.255.0   password\n"
            "# host all all all reject\n"
            'hostssl   all   "grafana", +readers, +twc\tall\tscram-sha-256\n'
            "host\t@dbs.txt  \t grafana\tall trust\n"
            "host\tteslamate, samerole, all\tall, all, +mid all   reject\n"
            'host\t"Tesla Mate"  \t deep   all   trust  # a comment\n'
            "host  \t all all  \t all\tmd5\n"
        ),
        "twc grafana\n",
        [
            ("a,b", "postgres", "127.0.0.2", False, "reject"),
            ("teslamate", "replication", "127.0.1.5", True, "reject"),
            ("deep", "twc", "127.0.1.5", False, "reject"),
            ("boss", "Tesla Mate", "127.200.0.1", False, "reject"),
            ("teslamate", "all", "127.0.1.5", True, "reject"),
            ("all", "a,b", "127.200.0.1", False, "reject"),
            ("boss", "all", "127.0.0.77", False, "reject"),
            ("nobody", "postgres", "127.9.8.7", True, "trust"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostgssenc   replication nobody, all\tall   md5\n"
            "   \n"
            'host\tall  \t "twc",all ::ffff:0:0/96\tmd5\n'
            "host all\tall 192.168.1.0/24   trust  # a comment\n"
            "host teslamate grafana\t.localdomain   scram-sha-256   \n"
            "hostssl  \t samegroup +twc,grafana,deep   fe80::/10\tscram-sha-256\t#no space\n"
            "\n"
            'host   all  \t "a,b",all,"Mixed Case"\t127.0.0.0   255.255.255.0   reject\n'
        ),
        "+readers, boss\n",
        [
            ("a,b", "grafana", "127.128.0.9", False, "no-entry"),
            ("twc", "teslamate", "127.200.0.1", True, "no-entry"),
            ("Mixed Case", "a,b", "127.0.0.2", True, "reject"),
            ("a,b", "Tesla Mate", "127.0.0.77", True, "reject"),
            ("teslamate", "teslamate", "127.9.8.7", False, "no-entry"),
            ("all", "teslamate", "127.0.0.77", True, "reject"),
            ("a,b", "grafana", "127.0.0.1", False, "reject"),
            ("teslamate", "teslamate", "127.0.0.1", True, "reject"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host  \t "all",sameuser,all   "+readers", +mid, boss  \t .localdomain\ttrust\n'
            "host @dbs.txt,teslamate,all teslamate  \t ::ffff:0:0/96   password\n"
            "host  \t sameuser all,+admins,boss all\treject\n"
            'host  \t all, "Tesla Mate", all\t"+readers",twc   127.200.0.1/31   reject'
        ),
        "twc grafana\n",
        [
            ("Mixed Case", "grafana", "127.0.0.1", True, "no-entry"),
            ("nobody", "postgres", "127.200.0.1", True, "no-entry"),
            ("teslamate", "grafana", "127.200.0.1", True, "no-entry"),
            ("deep", "twc", "127.0.0.77", False, "no-entry"),
            ("Mixed Case", "Tesla Mate", "127.0.0.77", True, "no-entry"),
            ("a,b", "all", "127.9.8.7", False, "no-entry"),
            ("teslamate", "replication", "127.128.0.9", False, "no-entry"),
            ("twc", "postgres", "127.200.0.1", False, "reject"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostssl all,all\tteslamate 0.0.0.0/25   md5\n"
            'hostnogssenc\tall,"twc",twc   all  \t all   md5\n'
            'host\t"Tesla Mate"   +twc\t192.168.1.0/24   password\n'
            'hostssl  \t sameuser\t"a,b"  \t all  \t trust\n'
            'hostnossl @dbs.txt\t"all"\t127.0.0.64/32 password\n'
        ),
        '"Mixed Case"\nteslamate # c\n',
        [
            ("boss", "all", "127.0.1.5", True, "scram-sha-256"),
            ("a,b", "replication", "127.9.8.7", True, "scram-sha-256"),
            ("boss", "postgres", "127.128.0.9", False, "scram-sha-256"),
            ("Mixed Case", "teslamate", "127.9.8.7", True, "scram-sha-256"),
            ("teslamate", "a,b", "127.0.0.1", True, "scram-sha-256"),
            ("Mixed Case", "replication", "127.0.0.1", True, "scram-sha-256"),
            ("all", "grafana", "127.0.0.2", False, "scram-sha-256"),
            ("grafana", "a,b", "127.0.0.77", False, "md5"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "# host all all all reject\n"
            "hostssl\tall  \t all   ::1/128\tpassword\n"
            "hostssl\tall all\tall\tpassword\n"
            'hostgssenc all,all "deep", all\tall\treject\n'
            'hostnossl   samerole  \t "teslamate"\tall   password\n'
            'host   "a,b",all  \t deep\tall trust'
        ),
        "twc grafana\n",
        [
            ("teslamate", "all", "127.0.0.77", False, "no-entry"),
            ("boss", "teslamate", "127.0.0.2", True, "password"),
            ("nobody", "teslamate", "127.128.0.9", False, "no-entry"),
            ("Mixed Case", "all", "127.0.0.2", True, "password"),
            ("all", "twc", "127.0.1.5", True, "password"),
            ("a,b", "a,b", "127.0.0.1", True, "password"),
            ("grafana", "grafana", "127.0.0.1", False, "no-entry"),
            ("a,b", "grafana", "127.200.0.1", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "host \\\n"
            ' \t all, replication, twc   +twc, "Mixed Case", teslamate\tall password   \n'
            "host\tall,grafana   all  \t 192.168.1.0/24 md5\n"
            "   \n"
            "hostssl   all  \t grafana,all,all  \t 127.0.0.1 255.255.255.255  \t scram-sha-256\n"
        ),
        "+readers, boss\n",
        [
            ("a,b", "replication", "127.200.0.1", False, "no-entry"),
            ("grafana", "all", "127.0.0.2", True, "no-entry"),
            ("boss", "all", "127.200.0.1", True, "no-entry"),
            ("twc", "a,b", "127.200.0.1", True, "password"),
            ("deep", "all", "127.0.0.77", False, "no-entry"),
            ("all", "twc", "127.9.8.7", True, "no-entry"),
            ("Mixed Case", "Tesla Mate", "127.128.0.9", False, "password"),
            ("nobody", "replication", "127.200.0.1", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host @dbs.txt "teslamate","a,b" all  \t password\n'
            "host \\\n"
            '  all "Mixed Case","Mixed Case"   192.168.1.0/24\tscram-sha-256\n'
            'host "all"  \t +readers\t127.9.8.7/0\tmd5  # a comment\n'
        ),
        "+readers, boss\n",
        [
            ("teslamate", "twc", "127.128.0.9", True, "no-entry"),
            ("all", "postgres", "127.200.0.1", False, "no-entry"),
            ("boss", "teslamate", "127.0.1.5", False, "no-entry"),
            ("Mixed Case", "twc", "127.0.0.2", False, "no-entry"),
            ("all", "all", "127.9.8.7", True, "no-entry"),
            ("teslamate", "teslamate", "127.0.0.1", True, "password"),
            ("teslamate", "a,b", "127.0.0.1", True, "no-entry"),
            ("boss", "all", "127.0.0.2", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostnossl   samerole\tdeep   all   trust\n"
            "host\tall \\\n"
            '"+readers", +mid  \t all  \t reject\n'
            'host  \t samegroup,"Tesla Mate"  \t +readers   0.0.0.0/16   md5'
        ),
        "+readers, boss\n",
        [
            ("twc", "teslamate", "127.0.0.2", True, "no-entry"),
            ("a,b", "all", "127.0.0.1", False, "no-entry"),
            ("all", "teslamate", "127.0.0.1", False, "no-entry"),
            ("Mixed Case", "all", "127.128.0.9", True, "no-entry"),
            ("grafana", "postgres", "127.0.1.5", True, "no-entry"),
            ("boss", "twc", "127.200.0.1", True, "no-entry"),
            ("deep", "Tesla Mate", "127.0.0.1", False, "reject"),
            ("all", "a,b", "127.200.0.1", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host\tall   grafana,+teslamate,"a,b"   all  \t scram-sha-256\n'
            "# host all all all reject\n"
            "hostgssenc   grafana all,all   ::ffff:127.0.0.0/104   trust\n"
        ),
        "+readers, boss\n",
        [
            ("Mixed Case", "twc", "127.200.0.1", False, "no-entry"),
            ("boss", "a,b", "127.0.0.77", True, "no-entry"),
            ("nobody", "all", "127.128.0.9", True, "no-entry"),
            ("all", "all", "127.200.0.1", True, "no-entry"),
            ("twc", "replication", "127.0.0.1", True, "no-entry"),
            ("teslamate", "a,b", "127.0.0.1", True, "scram-sha-256"),
            ("all", "grafana", "127.0.0.2", False, "no-entry"),
            ("Mixed Case", "all", "127.0.0.2", True, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostnossl  \t all  \t all   all\tmd5\n"
            "hostssl\t@dbs.txt  \t +teslamate\tlocalhost trust\n"
            "   \n"
            'host\t@dbs.txt   "twc"\tlocalhost  \t md5\n'
        ),
        '"Mixed Case"\nteslamate # c\n',
        [
            ("boss", "all", "127.0.1.5", False, "scram-sha-256"),
            ("nobody", "teslamate", "127.9.8.7", False, "scram-sha-256"),
            ("a,b", "a,b", "127.0.0.2", True, "no-entry"),
            ("teslamate", "Tesla Mate", "127.128.0.9", True, "no-entry"),
            ("Mixed Case", "a,b", "127.0.1.5", True, "no-entry"),
            ("grafana", "postgres", "127.0.0.2", True, "no-entry"),
            ("grafana", "replication", "127.0.0.1", True, "no-entry"),
            ("all", "a,b", "127.0.1.5", True, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host twc  \t all,"grafana" all  \t trust\n'
            "hostssl\t@dbs.txt\tteslamate, twc, +admins 192.168.1.0/24  \t md5  # a comment\n"
        ),
        "+readers, boss\n",
        [
            ("boss", "teslamate", "127.9.8.7", False, "no-entry"),
            ("Mixed Case", "teslamate", "127.0.0.77", True, "no-entry"),
            ("all", "postgres", "127.128.0.9", True, "no-entry"),
            ("twc", "all", "127.0.0.2", False, "no-entry"),
            ("boss", "grafana", "127.200.0.1", False, "no-entry"),
            ("deep", "postgres", "127.200.0.1", False, "no-entry"),
            ("twc", "a,b", "127.0.0.1", True, "no-entry"),
            ("teslamate", "twc", "127.128.0.9", True, "trust"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "\n"
            "host samerole, samerole, all  \t +teslamate,all,deep\t192.168.1.0/24  \t trust\n"
            "host\tall  \t all   127.9.8.7/32\treject"
        ),
        "twc grafana\n",
        [
            ("a,b", "all", "127.0.0.77", True, "no-entry"),
            ("boss", "postgres", "127.200.0.1", False, "no-entry"),
            ("grafana", "teslamate", "127.0.0.1", True, "no-entry"),
            ("boss", "replication", "127.200.0.1", False, "no-entry"),
            ("nobody", "a,b", "127.0.0.1", False, "no-entry"),
            ("nobody", "a,b", "127.9.8.7", True, "reject"),
            ("grafana", "all", "127.0.0.1", False, "no-entry"),
            ("a,b", "grafana", "127.128.0.9", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "host  \t all +teslamate, all   127.0.0.0/25\ttrust\n"
            "host   replication, all, all\tall\t127.0.0.0 255.0.0.0 reject\n"
        ),
        '"Mixed Case"\nteslamate # c\n',
        [
            ("teslamate", "teslamate", "127.0.0.77", False, "trust"),
            ("boss", "all", "127.0.0.77", False, "trust"),
            ("all", "teslamate", "127.0.0.2", True, "trust"),
            ("deep", "teslamate", "127.0.0.1", True, "trust"),
            ("Mixed Case", "all", "127.0.0.2", True, "trust"),
            ("deep", "a,b", "127.0.0.77", False, "trust"),
            ("a,b", "replication", "127.200.0.1", True, "reject"),
            ("grafana", "grafana", "127.0.1.5", True, "reject"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostssl \\\n"
            " \t all, samegroup  \t all   all\ttrust\n"
            'host\ttwc, twc all, "all"  \t 192.168.1.0/24  \t trust'
        ),
        "twc grafana\n",
        [
            ("boss", "postgres", "127.0.0.2", True, "trust"),
            ("twc", "twc", "127.0.1.5", True, "trust"),
            ("all", "all", "127.128.0.9", False, "no-entry"),
            ("nobody", "grafana", "127.0.1.5", False, "no-entry"),
            ("deep", "replication", "127.9.8.7", False, "no-entry"),
            ("grafana", "teslamate", "127.0.1.5", False, "no-entry"),
            ("grafana", "postgres", "127.0.1.5", True, "trust"),
            ("Mixed Case", "Tesla Mate", "127.0.1.5", False, "no-entry"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostssl   all, all +teslamate   all   trust\n"
            'host\tall\t"a,b", all, +readers   all\tpassword'
        ),
        "+readers, boss\n",
        [
            ("twc", "replication", "127.0.1.5", True, "password"),
            ("teslamate", "teslamate", "127.200.0.1", True, "trust"),
            ("nobody", "Tesla Mate", "127.0.0.77", False, "password"),
            ("deep", "twc", "127.0.0.77", False, "password"),
            ("boss", "grafana", "127.0.0.1", False, "password"),
            ("grafana", "replication", "127.0.0.2", False, "password"),
            ("twc", "twc", "127.0.0.2", True, "password"),
            ("a,b", "a,b", "127.0.0.77", False, "password"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "   \n"
            "host\tall,all,all +mid   127.128.0.9/25  \t trust\t#no space\n"
        ),
        "twc grafana\n",
        [
            ("a,b", "teslamate", "127.0.0.2", False, "no-entry"),
            ("a,b", "postgres", "127.9.8.7", True, "no-entry"),
            ("Mixed Case", "teslamate", "127.9.8.7", False, "no-entry"),
            ("teslamate", "all", "127.0.0.1", True, "no-entry"),
            ("boss", "replication", "127.9.8.7", True, "no-entry"),
            ("deep", "Tesla Mate", "127.128.0.9", False, "trust"),
            ("boss", "all", "127.0.0.1", True, "no-entry"),
            ("boss", "grafana", "127.0.0.77", False, "no-entry"),
        ],
    ),
]
