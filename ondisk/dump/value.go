package dump

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/layout"
)

// items turns what the tables read into items. Padding is left out while it is zero.
func items(vs []layout.Value) []item {
	var all []item
	for _, v := range vs {
		if v.Type == "zero" && allZero(v) {
			continue
		}
		all = append(all, valueItem(v))
	}
	return all
}

func valueItem(v layout.Value) item {
	it := item{name: v.Name, value: v.V}
	switch x := v.V.(type) {
	case []byte:
		if v.Type == "bits" {
			return bitmapItem(v.Name, x)
		}
		it.value = hex.EncodeToString(x)
		if v.Name == "uuid" {
			it.value = ondisk.UUID(x).String()
		}
		return it
	case uint64:
		it.text = numberText(v.Name, x)
		return it
	case string:
		return it
	case int64:
		if v.Name == "created" {
			it.text = fmt.Sprintf("%d (%s)", x, time.Unix(x, 0).UTC().Format(time.RFC3339))
		}
		return it
	}
	if v.Type == "time" {
		sec, _ := v.Get("sec").V.(int64)
		it.value = time.Unix(sec, int64(v.Uint("nsec"))).UTC().Format(time.RFC3339Nano)
		return it
	}
	subs := v.Sub
	it.list = len(subs) > 0 && subs[0].Name == "[0]"
	if it.list {
		for len(subs) > 0 && allZero(subs[len(subs)-1]) {
			subs = subs[:len(subs)-1]
		}
	}
	it.sub = items(subs)
	if it.sub == nil {
		it.sub = []item{}
	}
	return it
}

func numberText(name string, n uint64) string {
	switch name {
	case "magic", "crc", "compat", "ro compat", "incompat", "sum":
		return fmt.Sprintf("%#x", n)
	case "mode":
		return fmt.Sprintf("0%o", n)
	}
	return fmt.Sprint(n)
}

func allZero(v layout.Value) bool {
	switch x := v.V.(type) {
	case uint64:
		return x == 0
	case int64:
		return x == 0
	case string:
		return x == ""
	case []byte:
		for _, b := range x {
			if b != 0 {
				return false
			}
		}
	}
	for _, s := range v.Sub {
		if !allZero(s) {
			return false
		}
	}
	return true
}

// bitmapItem counts bits and names the runs of clear ones.
func bitmapItem(name string, b []byte) item {
	const most = 64
	set := 0
	for _, x := range b {
		set += bits.OnesCount8(x)
	}
	runs := item{name: "clear runs", list: true, sub: []item{}}
	n := len(b) * 8
	for i := 0; i < n; i++ {
		from := i
		for i < n && b[i/8]>>(i%8)&1 == 0 {
			i++
		}
		if i == from {
			continue
		}
		if len(runs.sub) == most {
			runs.add(kv("and more", "..."))
			break
		}
		runs.add(kv("run", fmt.Sprintf("%d+%d", from, i-from)))
	}
	return item{name: name, sub: []item{kv("set", set), kv("clear", n-set), runs}}
}
