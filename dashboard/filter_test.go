package dashboard

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"dachs/storage"
)

func TestParseFilter(t *testing.T) {
	f := func(in string, op storage.Op, column storage.Column, values ...string) {
		t.Helper()
		got, err := parseFilter(in)
		want := storage.Filter{Column: column, Op: op, Values: values}
		if column == storage.Props {
			want.Prop = "plan:a"
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	f("is,visit:source,Google", storage.Is, storage.Source, "Google")
	f("is_not,visit:country,DE,AT", storage.IsNot, storage.Country, "DE", "AT")
	f("contains,event:page,/a", storage.Contains, storage.Path, "/a")
	f("is,visit:source,", storage.Is, storage.Source, "")
	f("contains_not,event:page,/a,/b", storage.ContainsNot, storage.Path, "/a", "/b")
	f(`matches,event:page,^/a/[0-9]{1\,3}$`, storage.Matches, storage.Path, "^/a/[0-9]{1,3}$")
	f("matches_not,visit:city,.", storage.MatchesNot, storage.City, ".")
	f("is,event:props:plan:a,pro", storage.Is, storage.Props, "pro")
	f(`is,event:page,/a\,b,/c\\d`, storage.Is, storage.Path, "/a,b", `/c\d`)
	for _, bad := range []string{
		"", "is", "is,visit:source", "like,visit:source,x", "and,visit:source,x", "not,visit:source,x", "matches,event:page,(", "is,event:props:,x", "is,visit:nothing,x", "is,,x",
		"is,visit:source," + strings.Repeat("x", maxFilterLength), "is,visit:source" + strings.Repeat(",x", maxFilterValues+1),
	} {
		if got, err := parseFilter(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
	if _, err := parseFilters(make([]string, maxFilters+1)); err == nil {
		t.Error("any number of filters is taken")
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"is,visit:source,Google", `contains,event:page,a\,b\\`, "is_not,visit:country,", `is,visit:os,\`, ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, err := parseFilter(s)
		if err != nil {
			return
		}
		again, err := parseFilter(formatFilter(first))
		if err != nil && len(formatFilter(first)) <= maxFilterLength {
			t.Fatalf("%q: cannot read what was written: %v", s, err)
		}
		if err == nil && !reflect.DeepEqual(first, again) {
			t.Fatalf("%q: %+v became %+v", s, first, again)
		}
	})
}

// TestStateLinks: what a link says is what the page behind it reads.
func TestStateLinks(t *testing.T) {
	st := state{
		domain: "shop.example", panel: "pages",
		period: Period{Name: custom, From: storage.DateDay(2026, 1, 2), To: storage.DateDay(2026, 3, 4)},
		filters: []storage.Filter{
			{Column: storage.Path, Op: storage.Contains, Values: []string{"/a,b&c=d", "#?%"}},
			{Column: storage.Source, Op: storage.IsNot, Values: []string{"", "Ärzte & <Co>"}},
			{Column: storage.Props, Prop: "a, b&c", Op: storage.Matches, Values: []string{`^\d,`}},
		},
	}
	u, err := url.Parse(st.link())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	filters, err := parseFilters(q["f"])
	if err != nil || !reflect.DeepEqual(filters, st.filters) {
		t.Errorf("filters %+v, %v, want %+v", filters, err, st.filters)
	}
	if u.Path != "/sites/shop.example" || q.Get("period") != "custom" || q.Get("from") != "2026-01-02" || q.Get("to") != "2026-03-04" || q.Get("panel") != "pages" {
		t.Errorf("link is %s", st.link())
	}
	plain := state{domain: "shop.example", period: Period{Name: "7d"}, filters: []storage.Filter{{Column: storage.Path, Values: []string{"/a/b"}}}}
	if got, want := plain.link(), "/sites/shop.example?period=7d&f=is,event:page,/a/b"; got != want {
		t.Errorf("link is %s, want %s", got, want)
	}
}

func TestFilterOn(t *testing.T) {
	have := []storage.Filter{
		{Column: storage.Path, Op: storage.Contains, Values: []string{"/a"}},
		{Column: storage.Source, Values: []string{"Google"}},
	}
	got := filterOn(have, storage.Path, "/a/b")
	want := []storage.Filter{{Column: storage.Source, Values: []string{"Google"}}, {Column: storage.Path, Values: []string{"/a/b"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if have[0].Values[0] != "/a" || len(have) != 2 {
		t.Error("the filters given were changed")
	}
}
