//! Addresses of pages, cut and written alike so that they can be compared with lists.

/// Host and what follows it; without scheme, user and port.
pub fn host_and_rest(url: &str) -> (&str, &str) {
    let url = url.trim();
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#', '.']) => rest,
        _ => url.strip_prefix("//").unwrap_or(url),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    (host, rest)
}

/// A host in lower case, without a dot at its end.
pub fn normal_host(host: &str) -> String {
    host.trim().trim_end_matches('.').to_lowercase()
}

/// Host without `www.`, path and query; without fragment and a slash at the end.
pub fn normal_address(url: &str) -> String {
    let (host, rest) = host_and_rest(url);
    let host = normal_host(host);
    let rest = rest.split('#').next().unwrap_or_default();
    format!("{}{}", host.strip_prefix("www.").unwrap_or(&host), rest.strip_suffix('/').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_is_one_address_however_it_is_written() {
        for url in ["http://www.Example.com/a/", "https://example.com:443/a#top", "//example.com/a", "example.com/a"] {
            assert_eq!(normal_address(url), "example.com/a", "{url}");
        }
        assert_eq!(normal_address("https://u:p@sub.example.com./?q=http://x.y/"), "sub.example.com/?q=http://x.y");
    }

    #[test]
    fn what_is_no_address_is_no_panic() {
        for text in ["", "://", "@", ":", "://:/", "中文", "a b", "http://[::1]:80/x", "#", "\\\\host"] {
            normal_address(text);
        }
        assert_eq!(host_and_rest("http://[::1]:80/x").0, "[::1]");
    }
}
