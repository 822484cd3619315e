package storage

import (
	"encoding/json"
	"testing"
)

func TestPropValue(t *testing.T) {
	awkward := []Prop{{"a", `1","b":"2`}, {"b", "x,"}, {":", "colon"}, {",", "comma"}, {`q"\`, "\"\\\n\x1f</ä"}, {"", "empty"}, {"b", "second"}}
	for _, tt := range []struct {
		props     []Prop
		key, want string
	}{
		{nil, "a", ""},
		{[]Prop{{"a", "1"}}, "a", "1"},
		{[]Prop{{"a", "1"}}, "b", ""},
		{[]Prop{{"ab", "1"}, {"b", "2"}}, "b", "2"},
		{awkward, "a", `1","b":"2`},
		{awkward, "b", "x,"},
		{awkward, ":", "colon"},
		{awkward, ",", "comma"},
		{awkward, `q"\`, "\"\\\n\x1f</ä"},
		{awkward, "", "empty"},
		{awkward, "q", ""},
	} {
		if got := propValue(EncodeProps(tt.props), tt.key); got != tt.want {
			t.Errorf("value of %q in %s is %q, want %q", tt.key, EncodeProps(tt.props), got, tt.want)
		}
	}
	for _, other := range []string{"(other)", "{", `{"a`, `{"a"`, `{"a":`, `{"a":"b`, `{"a":"b\`, `{"a":7}`} {
		if got := propValue(other, "z"); got != other && other != "{" {
			t.Errorf("of %s: %q", other, got)
		}
	}
}

// FuzzProps: what was written is read, and is JSON.
func FuzzProps(f *testing.F) {
	f.Add("a", "1", "b", `"\`)
	f.Add(",", "\x00", ":", "{}")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		encoded := EncodeProps([]Prop{{k1, v1}, {k2, v2}})
		want2 := v2
		if k1 == k2 {
			want2 = v1
		}
		if got1, got2 := propValue(encoded, k1), propValue(encoded, k2); got1 != v1 || got2 != want2 {
			t.Errorf("%s: %q and %q, want %q and %q", encoded, got1, got2, v1, want2)
		}
		if !json.Valid([]byte(encoded)) {
			t.Errorf("%s is not JSON", encoded)
		}
		propValue(k1, v1) // any text
	})
}
