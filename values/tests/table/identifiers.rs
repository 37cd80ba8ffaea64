//! Identifiers, addresses, versions, and the parts of an HTTP message.

use camino::Utf8PathBuf;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use ipnet::{IpNet, Ipv4Net};
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::harness::{Case, case, equal_only, tests};

tests!(of_uuid, of_url, of_semver, of_ipnet, of_camino, of_http);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    #[serde(with = "uuid::serde::simple")]
    id: Uuid,
    number: u32,
}

fn uuid() -> Uuid {
    Uuid::from_u128(0x0191_2345_6789_7abc_8def_0123_4567_89ab)
}

fn of_uuid() -> Vec<Case> {
    vec![
        case!("uuid", Uuid, "version 7", uuid()),
        case!("uuid", Uuid, "nil", Uuid::nil()),
        case!("uuid", Named, "with `uuid::serde::simple`", Named { id: uuid(), number: 3 }),
    ]
}

fn of_url() -> Vec<Case> {
    vec![case!("url", Url, "with all parts", {
        "https://user:pass@example.com:8443/a%20b?c=d&e=%C3%A9#f".parse().unwrap()
    })]
}

fn of_semver() -> Vec<Case> {
    vec![
        case!("semver", semver::Version, "with all parts", "1.2.3-rc.1+build.5".parse().unwrap()),
        case!("semver", VersionReq, "of two parts", ">=1.2, <2".parse().unwrap()),
    ]
}

fn of_ipnet() -> Vec<Case> {
    vec![
        case!("ipnet", IpNet, "v4", "192.0.2.0/24".parse().unwrap()),
        case!("ipnet", IpNet, "v6", "2001:db8::/32".parse().unwrap()),
        case!("ipnet", Ipv4Net, "of one address", "192.0.2.1/32".parse().unwrap()),
    ]
}

fn of_camino() -> Vec<Case> {
    vec![case!("camino", Utf8PathBuf, "a path", "/tmp/ä b".into())]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    #[serde(with = "http_serde::method")]
    method: Method,
    #[serde(with = "http_serde::status_code")]
    status: StatusCode,
    #[serde(with = "http_serde::uri")]
    uri: Uri,
    #[serde(with = "http_serde::version")]
    version: Version,
    #[serde(with = "http_serde::header_map")]
    headers: HeaderMap,
    number: u32,
}

fn message(headers: HeaderMap) -> Message {
    Message {
        method: Method::from_bytes(b"PURGE").unwrap(),
        status: StatusCode::IM_A_TEAPOT,
        uri: Uri::from_static("https://example.com/a?b=c"),
        version: Version::HTTP_2,
        headers,
        number: 3,
    }
}

fn of_http() -> Vec<Case> {
    vec![
        case!("http-serde", Message, "no headers", message(HeaderMap::new())),
        case!(
            "http-serde",
            Message,
            "one header twice, one not UTF-8",
            {
                let mut headers = HeaderMap::new();
                headers.append("set-cookie", HeaderValue::from_static("a=b"));
                headers.append("set-cookie", HeaderValue::from_static("c=d"));
                headers.append("x-name", HeaderValue::from_bytes(b"caf\xE9").unwrap());
                message(headers)
            },
            equal_only()
        ),
        case!("http-serde", Message, "one header", {
            message([(http::header::ACCEPT, HeaderValue::from_static("*/*"))].into_iter().collect())
        }),
    ]
}
