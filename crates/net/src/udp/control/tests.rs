//! Control messages in the kernel's layout: complete, truncated, and unknown.

use super::*;

fn messages(control: &[u8]) -> Vec<(c_int, c_int, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = control;
    while let Some((level, kind, data, next)) = split_message(rest) {
        found.push((level, kind, data.to_vec()));
        rest = next;
    }
    found
}

fn encode(destination: &str, source: &str, family: Family) -> Vec<(c_int, c_int, Vec<u8>)> {
    let outgoing = Outgoing {
        destination: destination.parse().unwrap(),
        source: Some(source.parse().unwrap()),
        ecn: Some(0b1110),
        segment_size: Some(1200),
    };
    let mut control = Control::EMPTY;
    let used = outgoing.encode(&mut control, family);
    messages(&control.0[..used])
}

#[test]
fn outgoing_messages_follow_the_kernel_layout() {
    let v4 = encode("192.0.2.1", "192.0.2.9", Family::V4);
    assert_eq!(v4[0], (libc::IPPROTO_IP, libc::IP_PKTINFO, vec![0, 0, 0, 0, 192, 0, 2, 9, 0, 0, 0, 0]));
    assert_eq!(v4[1], (libc::IPPROTO_IP, libc::IP_TOS, 2_i32.to_ne_bytes().to_vec()), "only two bits leave");
    assert_eq!(v4[2], (SOL_UDP, UDP_SEGMENT, 1200_u16.to_ne_bytes().to_vec()));
    assert_eq!(encode("192.0.2.1", "192.0.2.9", Family::V6), v4, "a mapped peer is spoken to in IPv4 terms");

    let v6 = encode("2001:db8::1", "2001:db8::9", Family::V6);
    let source: Ipv6Addr = "2001:db8::9".parse().unwrap();
    assert_eq!(v6[0].2[..16], source.octets());
    assert_eq!(v6[0].2[16..], [0; 4]);
    assert_eq!((v6[0].0, v6[0].1), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO));
    assert_eq!((v6[1].0, v6[1].1), (libc::IPPROTO_IPV6, libc::IPV6_TCLASS));
    assert_eq!(v6.len(), 3);
}

#[test]
fn a_source_of_the_other_family_is_left_to_the_kernel() {
    let mixed = encode("192.0.2.1", "2001:db8::9", Family::V6);
    assert_eq!(mixed.iter().map(|message| message.1).collect::<Vec<_>>(), [libc::IP_TOS, UDP_SEGMENT]);
}

fn incoming(content: &[(c_int, c_int, &[u8])]) -> Incoming {
    let mut control = [0; 256];
    let mut writer = Writer { free: &mut control, used: 0 };
    for (level, kind, data) in content {
        writer.push(*level, *kind, data);
    }
    let used = writer.used;
    Incoming::decode(&control[..used])
}

#[test]
fn incoming_messages_are_understood() {
    let v4 = incoming(&[
        (libc::IPPROTO_IP, libc::IP_TOS, &[0xff]),
        (libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 0, 0, 0, 10, 0, 0, 1, 192, 0, 2, 9]),
        (SOL_UDP, UDP_GRO, &1200_i32.to_ne_bytes()),
    ]);
    let local_ip = Some("192.0.2.9".parse().unwrap());
    assert_eq!(v4, Incoming { local_ip, ecn: Some(3), stride: Some(1200) });

    let mapped: Ipv6Addr = "::ffff:192.0.2.9".parse().unwrap();
    let info = [&mapped.octets()[..], &[0; 4]].concat();
    let v6 = incoming(&[
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info),
        (99, 99, b"unknown"),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &1_i32.to_ne_bytes()),
    ]);
    assert_eq!(v6, Incoming { local_ip, ecn: Some(1), stride: None });
}

#[test]
fn a_malformed_control_message_ends_the_parsing() {
    assert_eq!(incoming(&[(SOL_UDP, UDP_GRO, &0_i32.to_ne_bytes())]).stride, None);
    assert_eq!(incoming(&[(SOL_UDP, UDP_GRO, &(-1_i32).to_ne_bytes())]).stride, None);
    assert_eq!(incoming(&[(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 2, 3])]).local_ip, None);
    for length in [0_usize, 1, HEADER - 1, 4096, usize::MAX - 7, usize::MAX] {
        let mut control = [0; 64];
        control[..WORD].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(Incoming::decode(&control), Incoming::default(), "length {length}");
    }
}
