#!/usr/bin/env python3
"""Makes the tiny, made-up samples beside the configs, each in the shape of the corpus it stands for.

They let a test dry-run every config; they are no text to train on. The Parquet sample needs pyarrow
(scripts/interop-setup.sh). Usage: target/interop/bin/python examples/make_samples.py
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


def write_jsonl(path, rows):
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (HERE / path).write_text("".join(lines), encoding="utf-8")


def industry_rows():
    texts = ["水库在汛期前要腾出库容，调度员每小时记一次水位，和下游三个站互相核对。",
             "合同到期之前三十日，任何一方可以书面通知对方不再续签。",
             "buy now buy now buy now buy now buy now buy now"]
    for index, text in enumerate(texts):
        zh = index < 2
        yield {"text": text, "alnum_ratio": 0.9, "avg_line_length": float(len(text)),
               "char_rep_ratio": 0.0 if zh else 0.7, "flagged_words_ratio": 0.0,
               "industry_type": ["水利", "法律", "其他"][index], "lang": "zh" if zh else "en", "lang_score": 0.97,
               "max_line_length": len(text), "num_words": 24, "perplexity": 640.5, "special_char_ratio": 0.1,
               "word_rep_ratio": 0.0, "id": 5609227288576 + index}


def main():
    write_jsonl("industry-corpus/sample.jsonl", industry_rows())
    wiki = [{"completion": "示例镇\n\n示例镇是示例县下辖的一个镇，并不存在。镇上有一座桥。", "source": "wikipedia.zh2307"},
            {"completion": "示例河\n\n示例河流经示例镇，全长十二公里，也不存在。", "source": "wikipedia.zh2307"}]
    (HERE / "zh-wikipedia/sample.json").write_text(json.dumps(wiki, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    write_jsonl("skypile/sample.jsonl", [{"text": "小店周三盘点，暂停营业一天，已下的订单顺延。"},
                                         {"text": "新开的步道沿着旧铁轨走，两头各有一个站台。"}])
    write_jsonl("wudao/sample.jsonl", [
        {"id": 1, "uniqueKey": "made-up-0001", "dataType": "新闻", "title": "图书馆延长开放", "content": "从下月起，图书馆周末开到晚上九点。"},
        {"id": 2, "uniqueKey": "made-up-0002", "dataType": "问答", "title": "薄荷怎么过冬", "content": "剪到齐根，盖一层落叶，来年会自己发出来。"}])
    import pyarrow
    import pyarrow.parquet
    rows = [{"text": "The ferry does not run in fog. " * 3 + "Ask at the kiosk.", "id": f"<urn:uuid:made-up-{index}>",
             "dump": "CC-MAIN-0000-00", "url": f"https://example.org/{index}", "date": "2026-01-01T00:00:00Z",
             "file_path": "s3://example/none.warc.gz", "language": "en", "language_score": 0.97 - index * 0.3,
             "token_count": 60} for index in range(2)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), HERE / "fineweb/sample.parquet")


if __name__ == "__main__":
    main()
