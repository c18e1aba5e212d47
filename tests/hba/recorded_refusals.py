"""Files a real PostgreSQL 15 refused, with the lines and messages it gave."""

from __future__ import annotations

REFUSALS: list[tuple[str, list[tuple[int, str]]]] = [
    # each: text of pg_hba.conf, then line and message of every refusal
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host all, all, "all" "+readers"   127.0.0.0   255.255.255.0   reject\n'
            "host   sameuser\tboss   ::ffff:127.0.0.0/104   trust\n"
            'host grafana ,all ,all  \t "Mixed Case" ,all  \t db.example.invalid\tmd5   \n'
            "host\tall \\\n"
            ",postgres  \t +mid,all,all  \t 127.0.1.5/0 password\n"
            "hostgssenc all   +admins\t127.0.1.5/16   md5\n"
            'host   twc  \t "all",+teslamate,"teslamate"  \t 127.0.0.0   255.255.255.0   trust\t#no space\n'
            'host  \t twc "a,b" 127.0.0.0   255.255.255.0   password\n'
            'hostnogssenc all  \t "deep"   ::ffff:0:0/96\tpassword   \n'
        ),
        [
            (6, 'invalid authentication method "Mixed Case"'),
            (7, "multiple values specified for host address"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host  \t all ,all ,all  \t "Mixed Case",all,all  \t 127.0.0.0 255.0.0.0 scram-sha-256\n'
            'hostgssenc\t"a,b" ,all @users.txt\t127.0.0.64/25 password\n'
            "host sameuser ,all   +readers  \t all reject\n"
            "host\tsamerole ,replication   all ,boss ,twc all  \t md5\n"
            "hostssl all  \t all   all  \t trust\n"
        ),
        [
            (4, "multiple values specified for authentication type"),
            (5, "multiple values specified for host address"),
            (6, 'invalid authentication method "all"'),
            (7, 'invalid authentication method "boss"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "host\tpostgres \\\n"
            ',twc ,"a,b"\t+teslamate\t127.9.8.7/24\tmd5\n'
            'host  \t all, all\t"+readers" 127.0.1.5/31  \t password\t#no space\n'
            "hostnogssenc   postgres\t+teslamate ::ffff:0:0/96\tpassword\n"
            "hostssl   teslamate all  \t 127.128.0.0\t255.128.0.0\tmd5\n"
            'hostgssenc\t"replication"   all  \t localhost   md5\n'
            'host\tall "twc"   all reject\t#no space'
        ),
        [
            (4, 'invalid authentication method "+teslamate"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "\n"
            "host all, sameuser, postgres  \t all  \t 127.128.0.9/24  \t scram-sha-256\n"
            'hostgssenc\t"all", all, replication  \t "+readers"  \t 127.0.0.0 255.0.0.0\ttrust\n'
            "host\tsameuser ,all ,grafana  \t +admins 192.168.1.0/24\tmd5  # a comment\n"
            'host postgres all, all, "Mixed Case"  \t all password\n'
            "host \\\n"
            "  samegroup, sameuser   grafana, twc  \t 192.168.1.0/24\tmd5\n"
            'host   all   "a,b"   192.168.1.0/24   md5\t#no space\n'
            'hostssl "Tesla Mate" "+readers"\t127.0.0.1 255.255.255.255   scram-sha-256\n'
            'host   all, all "a,b", all, all all trust  # a comment\n'
            'host all "all"\tfe80::/10  \t trust\n'
        ),
        [
            (7, 'invalid authentication method "+admins"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host all all,+mid,"teslamate"\tall\tpassword\n'
            'host\t"grafana"   "deep","a,b"   all scram-sha-256   \n'
            'host all ,"all" ,all   grafana 127.0.0.1/16  \t password   \n'
            "host teslamate   all\t.localdomain md5   \n"
            'host\t"all",all,all  \t twc ::ffff:127.0.0.0/104\tpassword\n'
            "\n"
            'host   "a,b"  \t "a,b",teslamate\tall\tpassword\t#no space\n'
            "hostssl all,postgres,all  \t +teslamate 127.0.0.0 255.0.0.0 scram-sha-256"
        ),
        [
            (6, 'invalid authentication method "grafana"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "\n"
            'host\t"grafana"  \t all ,all   127.0.0.64/31   md5\n'
            "\n"
            'hostssl   "Tesla Mate"   all   localhost  \t scram-sha-256'
        ),
        [
            (5, 'invalid authentication method "127.0.0.64/31"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostssl   all +twc\tall\tscram-sha-256\n"
            'host  \t samerole   all, "a,b"\t192.168.1.0/24\treject\n'
            "hostnossl  \t teslamate all ,all ,all   127.0.1.5/32   md5\t#no space\n"
            'hostssl   "grafana",all,samerole  \t all\t127.200.0.1/0   password\n'
            'host   all   "all"\t127.0.0.77/26  \t password\n'
            'host\treplication,sameuser "a,b"  \t all   password\n'
            "host  \t all  \t all ,all   all\tscram-sha-256\n"
            "hostgssenc\tteslamate,all,sameuser  \t all, deep, grafana   127.0.0.64/31\tpassword\n"
            'hostnossl   "a,b", all twc   192.168.1.0/24\ttrust'
        ),
        [
            (6, 'invalid authentication method "all"'),
            (10, 'invalid authentication method "all"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "   \n"
            "hostssl   all,grafana  \t grafana ::1/128 reject\t#no space\n"
            "hostnogssenc\tall  \t all ,all\tall\tpassword\n"
            "host  \t all  \t all ,all ,all  \t all md5\n"
            "host\tall, all  \t all  \t 127.128.0.9/24  \t md5\n"
            'host   all ,all ,@dbs.txt nobody,"Mixed Case" 192.168.1.0/24  \t trust\n'
            "host  \t all grafana  \t all trust\n"
            "host  \t all   all 127.0.0.0/31   md5\n"
            "hostssl  \t all nobody   127.0.0.1/32 reject\n"
            "host   sameuser ,all ,samerole all,boss  \t all  \t md5\n"
        ),
        [
            (6, 'invalid authentication method "all"'),
            (7, 'invalid authentication method "all"'),
            (9, "multiple values specified for host address"),
            (13, "multiple values specified for authentication type"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "\n"
            "hostnogssenc \\\n"
            "  all   all  \t ::/0\tpassword\n"
            "hostssl all all ,all\t127.200.0.1/24  \t scram-sha-256\n"
            'hostssl   "postgres" ,grafana ,replication  \t all  \t 127.0.0.0/16\ttrust\n'
            "# host all all all reject\n"
            'host "a,b" boss\t.localdomain reject\n'
            'host  \t "a,b"   boss 127.0.0.1 255.255.255.255   trust\n'
        ),
        [
            (7, 'invalid authentication method "127.200.0.1/24"'),
            (8, 'invalid authentication method "all"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "hostssl  \t all  \t @users.txt ,+teslamate   127.0.1.5/26\ttrust\n"
            "\n"
            'host\t"replication",sameuser,@dbs.txt  \t boss ,all ,all   all md5\n'
            "host  \t samerole,samegroup  \t teslamate 127.0.0.0 255.0.0.0   scram-sha-256\n"
            'host\tall ,all   +mid, "Mixed Case", +admins\t127.0.0.0 255.0.0.0\tpassword\n'
            "host  \t all ,samerole   all\t127.0.1.5/0  \t trust   \n"
            "# host all all all reject\n"
            "hostssl postgres\t+twc  \t 127.0.0.0 255.0.0.0 trust\n"
        ),
        [
            (4, 'invalid authentication method "127.0.1.5/26"'),
            (6, 'invalid authentication method "all"'),
            (8, "multiple values specified for host address"),
            (9, 'invalid authentication method "127.0.1.5/0"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host "a,b"  \t all, "a,b", "all"   all\tscram-sha-256\n'
            "\n"
            'host\treplication\t"deep"   127.0.0.1 255.255.255.255\treject\n'
            'host\tgrafana,all,all "all"  \t all\ttrust\n'
            'hostssl postgres, replication, "a,b"  \t twc,"all",all\t127.0.0.1 255.255.255.255 scram-sha-256\n'
            'host   replication all, "+readers"\t127.128.0.9/9\tpassword\n'
            "# host all all all reject\n"
            'host   all   +twc,"nobody"  \t all\treject\n'
            'host   @dbs.txt ,"a,b" ,all   "a,b",+twc\t::/0 md5\n'
            'host  \t all "Mixed Case"  \t 127.0.1.5/8   password\n'
            'host  \t postgres  \t "deep", +readers, @users.txt  \t 127.0.1.5/25 reject  # a comment\n'
        ),
        [
            (12, "multiple values specified for authentication type"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "# host all all all reject\n"
            "hostssl\tsamegroup, all, samerole  \t all,twc,all   127.0.0.64/0 md5\n"
            "host\tgrafana, all @users.txt,grafana 127.0.0.77/31 scram-sha-256\n"
            "host  \t all ,twc\tall   127.0.1.5/25   password\n"
            "\n"
            'hostnossl  \t teslamate, "all", all\tall  \t all scram-sha-256\n'
            'host  \t all  \t "Mixed Case"   all scram-sha-256\n'
            "hostnossl   all ,all ,all  \t @users.txt\tall\tscram-sha-256"
        ),
        [
            (7, 'invalid authentication method "127.0.1.5/25"'),
            (11, "multiple values specified for authentication type"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "host samerole\tgrafana   192.168.1.0/24   trust\n"
            'hostssl all ,"replication" ,all +admins  \t all\ttrust\n'
            'host   all\t"+readers"  \t .localdomain   md5   \n'
            "\n"
            'host  \t @dbs.txt  \t "Mixed Case", all\t127.0.0.0   255.255.255.0   md5\n'
            "   \n"
            'hostnossl  \t all, twc, grafana "a,b" ,"all" ,grafana  \t 192.168.1.0/24   password\n'
        ),
        [
            (5, 'invalid authentication method "+admins"'),
            (10, 'invalid authentication method "grafana"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host\tall  \t +mid,"+readers"  \t 127.0.0.1/16\tmd5\n'
            "hostssl\tgrafana\tboss ,+readers ,all   127.0.0.0   255.255.255.0   scram-sha-256\n"
            "# host all all all reject\n"
            "hostssl  \t all\t+readers   192.168.1.0/24 password  # a comment\n"
            'host all\tall,"all"\t127.0.0.1/32 trust'
        ),
        [
            (5, 'invalid authentication method "all"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'host "teslamate" ,all ,postgres all,"+readers",all\t127.0.0.77/8\tmd5  # a comment\n'
            'host\tpostgres,all,sameuser   "a,b" ,twc ,all   192.168.1.0/24  \t password\n'
            'hostgssenc   all ,all ,"all" "Mixed Case", twc 127.0.1.5/16 password\n'
            "hostssl\treplication ,all all,all\t192.168.1.0/24   md5"
        ),
        [
            (4, "multiple values specified for authentication type"),
            (5, 'invalid authentication method "all"'),
            (6, "multiple values specified for authentication type"),
            (7, "multiple values specified for host address"),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            "host  \t all, all, all  \t twc   127.0.0.77/24 reject\n"
            'hostssl  \t "twc"  \t "+readers" ,twc  \t all  \t scram-sha-256\n'
            "host\tgrafana \\\n"
            ",grafana   +readers\t127.0.0.64/32  \t reject\n"
            "host\tall all, all\t127.128.0.9/32\tmd5\n"
            "host  \t teslamate all,all   fe80::/10\ttrust\n"
            "hostssl   teslamate, all boss ,+mid ,all   127.0.0.1/32 trust\n"
        ),
        [
            (5, 'invalid authentication method "all"'),
            (6, 'invalid authentication method "127.0.0.64/32"'),
            (10, 'invalid authentication method "all"'),
        ],
    ),
    (
        (
            "# TYPE DATABASE USER ADDRESS METHOD\n"
            "local all all trust\n"
            "\n"
            'hostnossl\tsamerole\t"all",boss,"+readers" localhost   reject\n'
            'host\tall  \t boss ,"Mixed Case" ,+teslamate 127.0.0.0   255.255.255.0 md5\n'
            'hostnogssenc   all,grafana   "+readers" ,nobody  \t 127.0.0.0   255.255.255.0\tscram-sha-256   \n'
            "hostnogssenc  \t all\t+mid\tall password  # a comment\n"
            "\n"
            'hostssl all, all, "all"  \t +admins\t127.0.0.64/8  \t scram-sha-256\n'
            "hostssl\t@dbs.txt  \t all, teslamate\tall\ttrust  # a comment\n"
            "host all   all,+admins,all\t192.168.1.0/24  \t password\n"
            'host\tsamerole ,sameuser\t"a,b"\t127.0.0.0 255.0.0.0  \t trust\n'
            "hostnossl\treplication\ttwc   192.168.1.0/24  \t trust"
        ),
        [
            (5, 'invalid authentication method "+teslamate"'),
            (6, 'invalid authentication method "127.0.0.0"'),
            (12, 'invalid authentication method "127.0.0.0"'),
        ],
    ),
]
