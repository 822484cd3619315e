package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestQueryFlags(t *testing.T) {
	c := queryCmd{
		Site: "example.com", Metrics: []string{"visitors"}, Range: "2026-01-01, 2026-01-31", Dimensions: []string{"visit:country"},
		Filter: []string{"is,visit:country,DE,FR", "contains,event:page,/blog"}, OrderBy: []string{"visitors", "visit:country:asc"}, Limit: 5,
	}
	f := func(want string) {
		t.Helper()
		q, err := c.query()
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("query is\n%s, want\n%s", got, want)
		}
	}
	f(`{"site_id":"example.com","metrics":["visitors"],"date_range":["2026-01-01","2026-01-31"],"dimensions":["visit:country"],` +
		`"filters":[["is","visit:country",["DE","FR"]],["contains","event:page",["/blog"]]],` +
		`"order_by":[["visitors","desc"],["visit:country","asc"]],"pagination":{"limit":5}}`)
	c = queryCmd{Site: "example.com", Metrics: []string{"visits"}, Range: "2026-01-01", Limit: 100}
	f(`{"site_id":"example.com","metrics":["visits"],"date_range":["2026-01-01","2026-01-01"],"pagination":{"limit":100}}`)
	c.Range = "30d"
	f(`{"site_id":"example.com","metrics":["visits"],"date_range":"30d","pagination":{"limit":100}}`)
}

// answerOfStrangers holds a bound, a number without meaning, and values that visitors chose with ill intent.
const answerOfStrangers = `{"results":[
	{"dimensions":["/a"],"metrics":[12,null],"lower_bounds":[10,null]},
	{"dimensions":["=cmd|' /c calc'!A1"],"metrics":[3,61.25]},
	{"dimensions":["\u001b]0;owned\u0007\n"],"metrics":[1,0.5]}],
	"meta":{"metric_warnings":{"visitors":{"warning":"each is at most this"}},"notes":{"visitors":"a sum of days"}}}`

func TestQueryTable(t *testing.T) {
	c := queryCmd{Metrics: []string{"visitors", "bounce_rate"}, Dimensions: []string{"visit:source"}, Format: "table"}
	var stdout, stderr strings.Builder
	if err := c.write(&stdout, &stderr, []byte(answerOfStrangers)); err != nil {
		t.Fatal(err)
	}
	want := "visit:source        visitors  bounce_rate\n" +
		"/a                  10..12    -\n" +
		"=cmd|' /c calc'!A1  3         61.2\n" +
		"\uFFFD]0;owned\uFFFD\uFFFD         1         0.5\n"
	if stdout.String() != want {
		t.Errorf("table is\n%s, want\n%s", &stdout, want)
	}
	if want := "visitors: each is at most this\nvisitors: a sum of days\n"; stderr.String() != want {
		t.Errorf("notes are %q, want %q", &stderr, want)
	}
}

func TestQueryCSV(t *testing.T) {
	c := queryCmd{Metrics: []string{"visitors", "bounce_rate"}, Dimensions: []string{"visit:source"}, Format: "csv"}
	var stdout, stderr strings.Builder
	if err := c.write(&stdout, &stderr, []byte(answerOfStrangers)); err != nil {
		t.Fatal(err)
	}
	want := "visit:source,visitors,visitors_at_least,bounce_rate\n/a,12,10,\n'=cmd|' /c calc'!A1,3,3,61.25\n\uFFFD]0;owned\uFFFD\uFFFD,1,1,0.5\n"
	if stdout.String() != want {
		t.Errorf("CSV is\n%q, want\n%q", &stdout, want)
	}
}

// TestQueryCSVOfExactNumbers has no column for bounds, since there are none.
func TestQueryCSVOfExactNumbers(t *testing.T) {
	c := queryCmd{Metrics: []string{"visitors", "visits"}, Format: "csv"}
	var stdout, stderr strings.Builder
	if err := c.write(&stdout, &stderr, []byte(`{"results":[{"metrics":[3,4]}]}`)); err != nil {
		t.Fatal(err)
	}
	if want := "visitors,visits\n3,4\n"; stdout.String() != want {
		t.Errorf("CSV is %q, want %q", &stdout, want)
	}
}

func TestSplitFilter(t *testing.T) {
	for filter, want := range map[string][]string{
		`is,visit:country,DE,FR`:     {"is", "visit:country", "DE", "FR"},
		`is,visit:source,a\,b,c\\,d`: {"is", "visit:source", "a,b", `c\`, "d"},
		`is,event:page,\/ü\\\,`:      {"is", "event:page", `/ü\,`},
		`is,event:page,`:             {"is", "event:page", ""},
		``:                           {""},
	} {
		if got := splitFilter(filter); !slices.Equal(got, want) {
			t.Errorf("splitFilter(%q) = %q, want %q", filter, got, want)
		}
	}
}
