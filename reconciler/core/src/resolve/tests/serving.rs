//! Composites that serve names: sites of nginx, and the names that hosts publish.

use serde_json::json;

use super::*;

/// A fleet of a host `web` in two networks with this spec, and a host `app` with an endpoint in one of them.
fn fleet(spec: &str) -> Vec<(String, String)> {
    let lan = "{subnets: [192.0.2.0/24, \"2001:db8::/64\"]}";
    let wg = "{subnets: [198.51.100.0/24]}";
    let app = "networks: {lan: {id: 7}}\nendpoints: {web: {ports: [8080], on: [lan]}}";
    let web = format!(
        "os: {{family: debian, release: \"13\"}}\nnetworks: {{lan: {{id: 8}}, wg: {{id: 8}}}}\n{spec}"
    );
    vec![
        (
            "networks/lan.yaml".to_owned(),
            object("Network", "lan", lan),
        ),
        ("networks/wg.yaml".to_owned(), object("Network", "wg", wg)),
        ("hosts/app.yaml".to_owned(), object("Host", "app", app)),
        ("hosts/web.yaml".to_owned(), object("Host", "web", &web)),
    ]
}

fn web(spec: &str) -> Value {
    host("web", &borrowed(&fleet(spec)))
}

fn wrong(spec: &str) -> String {
    told(&borrowed(&fleet(spec)))
}

fn site(resources: &Value, name: &str) -> String {
    let path = format!("/etc/nginx/sites-enabled/{name}");
    let content = &resources["file"][path]["content"];
    content.as_str().unwrap().to_owned()
}

#[test]
fn published_name_is_a_site_at_the_hosts_addresses() {
    let resources =
        web("publish: {app.fleet.example: {to: app/host.web, on: [lan], maxBody: 8MiB}}");
    assert_eq!(
        site(&resources, "app.fleet.example"),
        "# Written by plumb.\nserver {\n    listen 192.0.2.8:80;\n    listen [2001:db8::8]:80;\n    server_name app.fleet.example;\n    client_max_body_size 8388608;\n    location / {\n        proxy_pass http://192.0.2.7:8080;\n        proxy_http_version 1.1;\n        proxy_set_header Host $host;\n        proxy_set_header X-Real-IP $remote_addr;\n        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n        proxy_set_header X-Forwarded-Host $host;\n        proxy_set_header X-Forwarded-Proto $scheme;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $plumb_connection;\n    }\n}\n"
    );
    let file = &resources["file"]["/etc/nginx/sites-enabled/app.fleet.example"];
    assert_eq!(file["validate"], json!(["nginx", "-t"]));
    let shared = resources["file"]["/etc/nginx/conf.d/plumb.conf"]["content"]
        .as_str()
        .unwrap();
    assert!(
        shared.ends_with("server {\n    listen 192.0.2.8:80 default_server;\n    listen [2001:db8::8]:80 default_server;\n    server_name _;\n    return 404;\n}\n"),
        "{shared}"
    );
    assert_eq!(
        resources["link"]["/etc/nginx/sites-enabled/default"]["state"],
        "absent"
    );
    assert_eq!(
        resources["service"]["nginx"]["reloadOn"],
        json!([
            "file:/etc/nginx/conf.d/plumb.conf",
            "file:/etc/nginx/sites-enabled/app.fleet.example",
            "link:/etc/nginx/sites-enabled/default",
        ])
    );
    assert_eq!(
        resources["sysctl"]["net.ipv6.ip_nonlocal_bind"]["value"],
        "1"
    );
}

#[test]
fn certificate_makes_port_80_redirect() {
    let certificate = "resources: {certificate: {wild: {names: [\"*.fleet.example\"], files: {certificate: /etc/c.pem, key: /etc/k.pem}}}}";
    let resources = web(&format!(
        "publish: {{app.fleet.example: {{to: app/host.web, on: [lan], certificate: wild, default: true, headers: {{X-A: b}}}}}}\n{certificate}"
    ));
    let text = site(&resources, "app.fleet.example");
    assert!(
        text.starts_with("# Written by plumb.\nserver {\n    listen 192.0.2.8:80 default_server;\n    listen [2001:db8::8]:80 default_server;\n    server_name app.fleet.example;\n    location / {\n        return 301 https://$host$request_uri;\n    }\n}\nserver {\n    listen 192.0.2.8:443 ssl default_server;\n    listen [2001:db8::8]:443 ssl default_server;\n    server_name app.fleet.example;\n    http2 on;\n    ssl_certificate /etc/c.pem;\n    ssl_certificate_key /etc/k.pem;\n    add_header X-A \"b\" always;\n"),
        "{text}"
    );
    let shared = resources["file"]["/etc/nginx/conf.d/plumb.conf"]["content"]
        .as_str()
        .unwrap();
    assert!(!shared.contains("server {"), "{shared}");
    assert!(
        wrong("publish: {a.example: {to: app/host.web, on: [lan], certificate: none}}")
            .contains("the host has no `certificate:none`")
    );
}

#[test]
fn issued_certificate_reloads_nginx() {
    let resources = web(
        "publish: {app.fleet.example: {to: app/host.web, on: [lan], certificate: web}}\nresources: {certificate: {web: {names: [app.fleet.example], acme: {directory: \"https://acme.example\", email: ops@fleet.example, http: {webroot: /var/www/html}}}}}",
    );
    let program = resources["file"]["/usr/local/lib/plumb/certificate-web"]["content"]
        .as_str()
        .unwrap();
    assert!(
        program.contains("systemctl try-reload-or-restart 'nginx.service'")
            || program.contains("systemctl try-reload-or-restart nginx.service"),
        "{program}"
    );
    let text = site(&resources, "app.fleet.example");
    assert!(text.contains("ssl_certificate /var/lib/certificates/web/certificate.pem;"));
    assert!(
        text.contains("location ^~ /.well-known/acme-challenge/ {\n        root /var/www/html;")
    );
}

#[test]
fn prefixes_have_answers_of_their_own() {
    let resources = web(
        "publish: {\"*.apps.example\": {root: /srv/www, on: \"*\", paths: {/api: {to: app/host.web}, /old: {redirect: \"https://b.example\"}, /s/: {root: /srv/s}}}}",
    );
    let text = site(&resources, "_.apps.example");
    for part in [
        "listen 0.0.0.0:80;\n    listen [::]:80;",
        "server_name *.apps.example;",
        "location = /api {\n        proxy_pass http://192.0.2.7:8080;",
        "location ^~ /api/ {\n        proxy_pass http://192.0.2.7:8080;",
        "location ^~ /old/ {\n        return 301 https://b.example$request_uri;",
        "location ^~ /s/ {\n        alias /srv/s/;",
        "location / {\n        root /srv/www;",
    ] {
        assert!(text.contains(part), "{part} isn't in {text}");
    }
}

#[test]
fn names_that_no_host_could_serve_are_refused() {
    for (publish, says) in [
        ("a.example: {on: [lan]}", "exactly one of"),
        ("a.example: {to: app/host.web}", "`on`"),
        (
            "a.example: {to: app/host.none, on: [lan]}",
            "no such endpoint",
        ),
        (
            "a.example: {to: nobody/host.web, on: [lan]}",
            "unknown host",
        ),
        (
            "a.example: {to: app/host.web, on: [wan]}",
            "no address in the network `wan`",
        ),
        ("A.example: {to: app/host.web, on: [lan]}", "lower case"),
        ("a.example: {redirect: www, on: [lan]}", "must be a URL"),
        ("a.example: {root: srv, on: [lan]}", "absolute"),
        (
            "a.example: {to: app/host.web, on: [lan], http: redirect}",
            "needs a certificate",
        ),
        (
            "a.example: {to: app/host.web, on: [lan], paths: {api: {to: app/host.web}}}",
            "isn't the prefix",
        ),
        (
            "a.example: {to: app/host.web, on: [lan], paths: {/a: {to: app/host.none}}}",
            "no such endpoint",
        ),
        (
            "a.example: {to: app/host.web, on: [lan], default: true}, b.example: {to: app/host.web, on: [lan], default: true}",
            "is the default at the same address already",
        ),
    ] {
        let told = wrong(&format!("publish: {{{publish}}}"));
        assert!(told.contains(says), "{publish}: {told}");
        assert!(told.contains("hosts/web.yaml:"), "{publish}: {told}");
    }
}

#[test]
fn name_in_host_defaults_is_every_hosts() {
    let mut files = fleet("publish: {b.example: {root: /srv/b, on: [wg]}}");
    files.push((
        "fleet.yaml".to_owned(),
        "kind: Fleet\nmetadata: {name: home}\nspec: {hostDefaults: {publish: {a.example: {root: /srv/a, on: [lan]}}}}\n".to_owned(),
    ));
    let resources = host("web", &borrowed(&files));
    assert!(site(&resources, "a.example").contains("/srv/a"));
    assert!(site(&resources, "b.example").contains("listen 198.51.100.8:80;"));
}

#[test]
fn networks_of_one_interface_are_one_file() {
    let resources = web(
        "resources: {wifi: {home: {ssid: Home, priority: 5, interface: wlan0}, guests: {ssid: 'Bob\"s', interface: wlan0, hidden: true}, work: {ssid: Work, priority: 9, interface: wlan1}}}",
    );
    let path = "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf";
    let file = &resources["file"][path];
    assert_eq!(
        file["content"],
        "# Written by plumb.\nctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n\n# home\nnetwork={\n\tssid=\"Home\"\n\tkey_mgmt=NONE\n\tpriority=5\n}\n\n# guests\nnetwork={\n\tssid=\"Bob\"s\"\n\tkey_mgmt=NONE\n\tscan_ssid=1\n}\n"
    );
    assert_eq!(file["mode"], "0600");
    assert_eq!(
        resources["service"]["wpa_supplicant@wlan0"]["reloadOn"],
        json!([format!("file:{path}")])
    );
    assert!(!resources["file"]["/etc/wpa_supplicant/wpa_supplicant-wlan1.conf"].is_null());
    let told = wrong(
        "resources: {wifi: {home: {ssid: Home, psk: \"secret:wifi/home\", interface: wlan0}}}",
    );
    assert!(
        told.contains("the host has no `secret:wifi/home`"),
        "{told}"
    );
    let told =
        wrong("resources: {wifi: {home: {ssid: Home, psk: \"file:/etc/x\", interface: wlan0}}}");
    assert!(told.contains("must name a secret"), "{told}");
}

/// A fleet whose host `gate` serves names and leases with these resources.
fn gated(resources: &str, dhcp: &str) -> Vec<(String, String)> {
    let lan = format!(
        "subnets: [192.0.2.0/24, \"2001:db8::/64\"]\ngateway: gate\n{dhcp}\nmembers: {{ap: {{id: 2, mac: \"02:00:5e:00:53:02\"}}}}"
    );
    let gate = format!(
        "networks: {{lan: {{id: 1, interface: lan0}}, wg: {{id: 1}}}}\nresources: {{{resources}}}"
    );
    let app = "hostname: APPLE\nnetworks: {lan: {id: 7, mac: \"02:00:5e:00:53:07\", aliases: {wifi: {id: 6, mac: \"02:00:5e:00:53:06\"}}}, wg: {id: 7}}\npublish: {app.example: {root: /srv/www, on: [wg, lan]}, \"*.w.example\": {root: /srv/www, on: [wg]}}";
    let far = "networks: {wg: {id: 9}}";
    vec![
        (
            "networks/lan.yaml".to_owned(),
            object("Network", "lan", &lan),
        ),
        (
            "networks/wg.yaml".to_owned(),
            object("Network", "wg", "{subnets: [198.51.100.0/24]}"),
        ),
        ("hosts/gate.yaml".to_owned(), object("Host", "gate", &gate)),
        ("hosts/app.yaml".to_owned(), object("Host", "app", app)),
        ("hosts/far.yaml".to_owned(), object("Host", "far", far)),
    ]
}

fn text<'a>(resources: &'a Value, path: &str) -> &'a str {
    resources["file"][path]["content"].as_str().unwrap()
}

const DNS: &str = "dns: {fleet: {on: [lan, wg], upstreams: [\"9.9.9.9\", \"192.0.2.3:5353\"], records: {nas.example: app, \"*.apps.example\": far, printer.example: 192.0.2.99}, local: [fleet.example]}}";
const LEASES: &str = "dhcp: {server: gate, range: [200, 250]}";

#[test]
fn each_network_sees_its_own_addresses() {
    let resources = host("gate", &borrowed(&gated(DNS, "")));
    let lan = text(&resources, "/etc/dnsmasq-lan.d/hosts");
    for line in [
        "192.0.2.1 gate.fleet.example gate gate.lan.fleet.example\n",
        "192.0.2.2 ap.fleet.example ap ap.lan.fleet.example\n",
        "192.0.2.6 apple-wifi apple-wifi.fleet.example\n",
        "192.0.2.7 apple.fleet.example app app.example app.fleet.example app.lan.fleet.example apple apple.lan.fleet.example nas.example\n",
        "2001:db8::7 apple.fleet.example app app.example",
        "192.0.2.99 printer.example\n",
        "198.51.100.9 far.fleet.example far far.wg.fleet.example\n",
        "198.51.100.7 app.wg.fleet.example apple.wg.fleet.example\n",
    ] {
        assert!(lan.contains(line), "{line} isn't in {lan}");
    }
    let wg = text(&resources, "/etc/dnsmasq-wg.d/hosts");
    for line in [
        "198.51.100.7 apple.fleet.example app app.example app.fleet.example app.wg.fleet.example apple apple.wg.fleet.example nas.example\n",
        "192.0.2.2 ap.fleet.example ap ap.lan.fleet.example\n",
    ] {
        assert!(wg.contains(line), "{line} isn't in {wg}");
    }
    assert_eq!(
        text(&resources, "/etc/dnsmasq-lan.d/dns.conf"),
        "# Written by plumb.\nno-hosts\naddn-hosts=/etc/dnsmasq-lan.d/hosts\ndomain-needed\nbogus-priv\nno-resolv\nserver=9.9.9.9\nserver=192.0.2.3#5353\nlocal=/fleet.example/\nlocal=/apps.example/\naddress=/apps.example/198.51.100.9\nlocal=/w.example/\naddress=/w.example/198.51.100.7\n"
    );
    assert_eq!(
        text(&resources, "/etc/dnsmasq-lan.d/network.conf"),
        "# Written by plumb.\nbind-dynamic\nlisten-address=192.0.2.1\nlisten-address=2001:db8::1\npid-file=/run/dnsmasq-lan.pid\ndomain=fleet.example\n"
    );
    assert_eq!(
        resources["service"]["dnsmasq-lan"]["reloadOn"],
        json!(["file:/etc/dnsmasq-lan.d/hosts"])
    );
}

#[test]
fn leases_follow_the_network() {
    let both = format!("{DNS}, dhcp: {{lan: {{}}}}");
    let resources = host("gate", &borrowed(&gated(&both, LEASES)));
    assert_eq!(
        text(&resources, "/etc/dnsmasq-lan.d/dhcp.conf"),
        "# Written by plumb.\ndhcp-authoritative\ndhcp-leasefile=/var/lib/misc/dnsmasq-lan.leases\ndhcp-hostsfile=/etc/dnsmasq-lan.d/reservations\ndhcp-range=192.0.2.200,192.0.2.250,255.255.255.0,43200\ndhcp-option=option:router,192.0.2.1\ndhcp-option=option:dns-server,192.0.2.1\nenable-ra\ndhcp-range=2001:db8::200,2001:db8::250,64,43200\ndhcp-option=option6:dns-server,[2001:db8::1]\n"
    );
    assert_eq!(
        text(&resources, "/etc/dnsmasq-lan.d/reservations"),
        "# Written by plumb.\n02:00:5e:00:53:02,192.0.2.2,[2001:db8::2],ap\n02:00:5e:00:53:06,192.0.2.6,[2001:db8::6],APPLE-wifi\n02:00:5e:00:53:07,192.0.2.7,[2001:db8::7],APPLE\n"
    );
    let shared = text(&resources, "/etc/dnsmasq-lan.d/network.conf");
    assert!(
        shared.contains("interface=lan0\nexcept-interface=lo\n"),
        "{shared}"
    );
    let alone = host("gate", &borrowed(&gated("dhcp: {lan: {}}", LEASES)));
    let shared = text(&alone, "/etc/dnsmasq-lan.d/network.conf");
    assert!(shared.contains("port=0\n"), "{shared}");
}

#[test]
fn servers_of_nothing_are_refused() {
    for (resources, dhcp, says) in [
        ("dhcp: {lan: {}}", "", "no network `lan` with `dhcp`"),
        ("dhcp: {lam: {}}", "", "no network `lam` with `dhcp`"),
        (
            "dhcp: {lan: {}}",
            "dhcp: {server: app, range: [200, 250]}",
            "`app` is the DHCP server of the network `lan`",
        ),
        ("", LEASES, "but has no `dhcp:lan`"),
        ("dns: {fleet: {on: []}}", "", "needs a network"),
        (
            "dns: {fleet: {on: [wan]}}",
            "",
            "no address in the network `wan`",
        ),
        (
            "dns: {fleet: {on: [lan], records: {x.example: apo}}}",
            "",
            "no host or member `apo`",
        ),
        (
            "dns: {fleet: {on: [lan], records: {x.example: far}}}",
            "",
            "`far` has no address in lan",
        ),
        (
            "dns: {fleet: {on: [lan], upstreams: [dns.example]}}",
            "",
            "isn't the address",
        ),
    ] {
        let told = told(&borrowed(&gated(resources, dhcp)));
        assert!(told.contains(says), "{resources} {dhcp}: {told}");
    }
}
