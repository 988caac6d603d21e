//! Steps `boilerplate` and `advertisements`: short lines that have one of a list of phrases go.
//!
//! Only short lines: a long one that mentions "all rights reserved" is a text about it. The user's own phrases take a
//! line of any length.

use aho_corasick::{AhoCorasick, MatchKind};

use super::edit::{Edit, Edited};

/// Longest line, in characters, that a phrase of ours takes.
const LINE_CHARS_MAX: usize = 80;

/// Finds lines by phrases.
#[derive(Debug)]
pub struct Lines {
    phrases: AhoCorasick,
    /// How many of the phrases, from the first, take short lines only.
    short_only: usize,
}

impl Lines {
    /// Lines of navigation, copyright, sharing and cookies, and those with the user's phrases.
    ///
    /// # Errors
    /// Where the phrases are too many for one automaton.
    pub fn boilerplate(own: &[String]) -> Result<Lines, aho_corasick::BuildError> {
        Lines::new(&BOILERPLATE, own)
    }

    /// Lines of advertisement.
    ///
    /// # Errors
    /// As [`Lines::boilerplate`].
    pub fn advertisements() -> Result<Lines, aho_corasick::BuildError> {
        Lines::new(&ADVERTISEMENTS, &[])
    }

    fn new(short: &[&str], own: &[String]) -> Result<Lines, aho_corasick::BuildError> {
        let all = short.iter().copied().chain(own.iter().map(String::as_str));
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        Ok(Lines { phrases: builder.build(all)?, short_only: short.len() })
    }

    /// Takes the step.
    pub fn clean<'a>(&self, text: &'a str) -> Edited<'a> {
        let mut edit = Edit::new(text);
        let mut done = 0;
        // Each match inside a line that stays is looked at; a line's length is known after the first.
        let mut long_until = 0;
        for found in self.phrases.find_overlapping_iter(text) {
            if found.start() < done {
                continue;
            }
            let own = found.pattern().as_usize() >= self.short_only;
            if !own && found.start() < long_until {
                continue;
            }
            let (start, end) = line_around(text, found.start(), found.end());
            if own || is_short(text.get(start..end).unwrap_or_default()) {
                edit.remove(start..end);
                done = end;
            } else {
                long_until = end;
            }
        }
        edit.finish()
    }
}

fn is_short(line: &str) -> bool {
    line.trim().chars().nth(LINE_CHARS_MAX).is_none()
}

/// The line around a match, its `\n` with it; of the last line the `\n` before it.
fn line_around(text: &str, start: usize, end: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let before = bytes.get(..start).and_then(|before| memchr::memrchr(b'\n', before));
    let after = bytes.get(end..).and_then(|after| memchr::memchr(b'\n', after));
    match after {
        Some(length) => (before.map_or(0, |at| at + 1), end + length + 1),
        None => (before.unwrap_or(0), text.len()),
    }
}

const BOILERPLATE: [&str; 69] = [
    "版权所有",
    "版权声明",
    "未经授权禁止转载",
    "未经许可不得转载",
    "转载请注明",
    "转载须注明",
    "转载自：",
    "责任编辑：",
    "责任编辑:",
    "【责任编辑",
    "(责任编辑",
    "（责任编辑",
    "上一篇：",
    "上一篇:",
    "下一篇：",
    "下一篇:",
    "相关阅读：",
    "相关推荐：",
    "推荐阅读：",
    "延伸阅读：",
    "猜你喜欢",
    "返回首页",
    "返回顶部",
    "返回列表",
    "点击查看更多",
    "点击加载更多",
    "查看全文",
    "阅读全文",
    "展开全文",
    "当前位置：",
    "您的位置：",
    "您现在的位置",
    "设为首页",
    "加入收藏",
    "分享到：",
    "分享到微信",
    "分享到朋友圈",
    "扫一扫关注",
    "扫码关注",
    "长按识别二维码",
    "关注微信公众号",
    "关注我们的公众号",
    "网站地图",
    "联系我们 |",
    "免责声明：",
    "京ICP备",
    "沪ICP备",
    "粤ICP备",
    "京公网安备",
    "举报电话：",
    "all rights reserved",
    "terms of use",
    "terms of service",
    "privacy policy",
    "cookie policy",
    "we use cookies",
    "uses cookies",
    "accept all cookies",
    "enable javascript",
    "javascript is disabled",
    "skip to content",
    "skip to main content",
    "back to top",
    "share on facebook",
    "share on twitter",
    "share this:",
    "subscribe to our newsletter",
    "sign up for our newsletter",
    "leave a reply cancel reply",
];

const ADVERTISEMENTS: [&str; 44] = [
    "加微信",
    "加qq",
    "QQ群",
    "微信号：",
    "微信号:",
    "薇信",
    "威信号",
    "点击购买",
    "立即购买",
    "立即抢购",
    "马上抢购",
    "限时抢购",
    "限时特价",
    "限时优惠",
    "优惠券",
    "领取优惠",
    "免费领取",
    "免费试听",
    "免费咨询",
    "在线咨询",
    "咨询热线",
    "客服热线",
    "客服电话",
    "全国热线",
    "订购热线",
    "招商加盟",
    "加盟热线",
    "诚邀加盟",
    "全场包邮",
    "货到付款",
    "点击下载",
    "立即下载",
    "下载APP",
    "广告合作",
    "商务合作",
    "推广合作",
    "click here to buy",
    "buy now",
    "order now",
    "limited time offer",
    "add to cart",
    "free shipping",
    "sponsored content",
    "advertisement",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_with_a_phrase_go() {
        let lines = Lines::boilerplate(&[]).unwrap();
        let text = "正文第一段。\n上一篇：别的文章\n正文第二段。\n© 2020 X. ALL RIGHTS RESERVED";
        assert_eq!(lines.clean(text), Edited { text: "正文第一段。\n正文第二段。".into(), changes: 2 });
        let text = "加微信 abc 领红包\n正文";
        assert_eq!(Lines::advertisements().unwrap().clean(text).text, "正文");
    }

    #[test]
    fn a_long_line_that_mentions_one_stays_unless_the_phrase_is_the_users() {
        let line = format!("他在书的最后一页写道：版权所有。{}", "这是一段很长的正文".repeat(10));
        assert_eq!(Lines::boilerplate(&[]).unwrap().clean(&line), Edited::same(&line));
        let own = Lines::boilerplate(&["很长的正文".to_owned()]).unwrap();
        assert_eq!(own.clean(&line).text, "");
    }
}
