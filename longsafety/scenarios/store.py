from __future__ import annotations
import json,re
from pathlib import Path
import numpy as np
class TokenStore:
    @staticmethod
    def build(folder, documents, tokenizer):
        toks=[];sts=[];rows=[];o=0
        for d in documents:
            e=tokenizer(d.text,add_special_tokens=False,return_offsets_mapping=True)
            ids=e["input_ids"]; st=[a for a,b in e["offset_mapping"]]; st[0]=0
            sent=[m.end() for m in re.finditer(r"[.!?]\s+|\n\n+",d.text)]
            pos=[0,*np.searchsorted(st,[s-1 for s in sent]).tolist()]
            rows.append(dict(id=d.id,n=len(ids),o=o,text=d.text,sent=sorted({p for p in pos if p<len(ids)}))); o+=len(ids); toks+=ids; sts+=st
        np.array(toks,dtype=np.uint32).tofile(folder/"tokens.bin"); np.array(sts,dtype=np.uint32).tofile(folder/"starts.bin")
        (folder/"i.json").write_text(json.dumps(rows))
    @staticmethod
    def open(folder):
        s=TokenStore(); s.rows=json.loads((folder/"i.json").read_text()); s.t=np.memmap(folder/"tokens.bin",dtype=np.uint32,mode="r"); s.s=np.memmap(folder/"starts.bin",dtype=np.uint32,mode="r"); s.ids=[r["id"] for r in s.rows]; return s
    def __len__(self): return len(self.rows)
    def num_tokens(self,d): return self.rows[d]["n"]
    def tokens(self,d): r=self.rows[d]; return self.t[r["o"]:r["o"]+r["n"]]
    def starts(self,d): r=self.rows[d]; return self.s[r["o"]:r["o"]+r["n"]]
    def text(self,d,a,b):
        st=self.starts(d); n=len(st); T=self.rows[d]["text"]
        return T[int(st[a]) if a<n else len(T): int(st[b]) if b<n else len(T)]
    def characters(self,d,a,b): return self.rows[d]["text"][max(a,0):b]
    def can_cut(self,d,i): st=self.starts(d); return i==0 or i>=len(st) or st[i]>st[i-1]
    def sentence_starts(self,d): return np.array(self.rows[d]["sent"])
