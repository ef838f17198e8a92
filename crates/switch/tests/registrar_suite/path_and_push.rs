//! RFC 3327 (Path) and RFC 8599 (push).

use offhook_sip::{
    header::HeaderName,
    transport::{ConnectionId, Destination, Transport},
};
use offhook_switch::registrar::RegistrarConfig;

use crate::stage::{Stage, address, stream};

#[test]
fn a_path_is_kept_repeated_and_becomes_the_route_while_requests_go_where_it_came_from() {
    let mut stage = Stage::new();
    let lines = "Supported: path\n\
        Path: \"P1\" <sip:p1.example.net;lr>;x=1, <sip:tok@p2.example.net;lr;ob>\n\
        Path: <sip:p3.example.net;lr>\n\
        Contact: <sip:101@10.0.0.5>";
    let answer = stage.register(1, lines);
    let told: Vec<&str> = answer.headers().values(&HeaderName::Path).collect();
    let hops = ["<sip:p1.example.net;lr>", "<sip:tok@p2.example.net;lr;ob>", "<sip:p3.example.net;lr>"];
    assert_eq!(told, hops);
    let targets = stage.targets();
    let path: Vec<&str> = targets[0][0].path.iter().map(|hop| &**hop).collect();
    assert_eq!(path, hops);
    assert_eq!(targets[0][0].destination, Some(Destination::Flow(stage.flow)));
}

#[test]
fn a_path_the_device_does_not_know_of_is_refused_with_420() {
    let mut stage = Stage::new();
    let answer = stage.register(1, "Path: <sip:p1.example.net;lr>\nContact: <sip:101@10.0.0.5>");
    assert_eq!(answer.status().as_u16(), 420);
    assert_eq!(answer.headers().first(&HeaderName::Unsupported), Some("path"));
    assert!(stage.registrar.is_empty());
}

#[test]
fn malformed_and_endless_paths_are_refused() {
    let mut stage = Stage::new();
    let endless = ["<sip:p.example.net;lr>"; 9].join(", ");
    for path in ["<tel:+1>", "nonsense", "<sip:>", &endless] {
        let answer =
            stage.register(1, &format!("Supported: path\nPath: {path}\nContact: <sip:101@10.0.0.5>"));
        assert_eq!(answer.status().as_u16(), 400, "{path}");
    }
}

const PUSH: &str = "Contact: <sip:101@192.0.2.10;pn-provider=fcm;pn-param=app%3B1;pn-prid=ZH%2B1>";

#[test]
fn a_push_service_that_the_node_wakes_is_confirmed() {
    let config =
        RegistrarConfig { push_providers: vec!["apns".into(), "fcm".into()], ..RegistrarConfig::default() };
    let mut stage = Stage::with(config);
    let answer = stage.register(1, PUSH);
    assert_eq!(answer.headers().first(&HeaderName::FeatureCaps), Some("*;+sip.pns=\"fcm\""));
    let targets = stage.targets();
    let push = targets[0][0].push.as_ref().unwrap();
    assert_eq!((&*push.provider, &*push.prid, &*push.param), ("fcm", "ZH+1", "app;1"));
    assert!(!format!("{:?}", targets[0][0]).contains("ZH"), "the token stays hidden");
    // Taking it back confirms nothing.
    let answer = stage.register(2, &format!("{PUSH};expires=0"));
    assert_eq!(answer.headers().first(&HeaderName::FeatureCaps), None);
}

#[test]
fn a_push_service_nobody_can_wake_is_kept_but_not_confirmed() {
    let mut stage = Stage::new();
    let answer = stage.register(1, PUSH);
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers().first(&HeaderName::FeatureCaps), None);
    assert!(stage.targets()[0][0].push.is_some());
}

#[test]
fn a_query_for_push_services_is_no_push_service() {
    let mut stage = Stage::new();
    stage.register(1, "Contact: <sip:101@192.0.2.10;pn-provider>");
    assert!(stage.targets()[0][0].push.is_none());
}

/// Goal: nobody has the node call a carrier, which believes the node's address, by a Path that names it. Method: a TCP
/// registration with such a Path loses its stream.
#[test]
fn a_path_to_somebody_else_is_no_way_to_reach_the_device() {
    let way_by = |hop: &str| {
        let mut stage = Stage::new();
        stage.flow = stream(Transport::Tcp, 4, "192.0.2.10:40001");
        stage.register(
            1,
            &format!("Supported: path\nPath: <sip:{hop};lr>\nContact: <sip:0049301@10.0.0.5;transport=tcp>"),
        );
        stage.registrar.connection_closed(ConnectionId(4), stage.now);
        let targets = stage.targets();
        targets.into_iter().flatten().find_map(|target| target.destination)
    };
    assert_eq!(way_by("203.0.113.99:5060"), None, "somebody else's address");
    let proxy = way_by("192.0.2.10:5070").expect("the proxy that the REGISTER came by");
    assert_eq!(proxy.remote(), address("192.0.2.10:5070"));
}
