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
		Filter: []string{"is,visit:country,DE,FR", "contains/i,event:page,/blog"}, Where: "not visit:os is iOS", OrderBy: []string{"visitors", "visit:country:asc"}, Limit: 5,
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
		`"filters":[["is","visit:country",["DE","FR"]],["contains","event:page",["/blog"],{"case_sensitive":false}],["not",["is","visit:os",["iOS"]]]],` +
		`"order_by":[["visitors","desc"],["visit:country","asc"]],"pagination":{"limit":5}}`)
	c = queryCmd{Site: "example.com", Metrics: []string{"visits"}, Range: "2026-01-01", Limit: 100}
	f(`{"site_id":"example.com","metrics":["visits"],"date_range":["2026-01-01","2026-01-01"],"pagination":{"limit":100}}`)
	c.Range = "30d"
	f(`{"site_id":"example.com","metrics":["visits"],"date_range":"30d","pagination":{"limit":100}}`)
}

func TestWhere(t *testing.T) {
	for where, want := range map[string]string{
		`visit:country is DE`:                      `["is","visit:country",["DE"]]`,
		`visit:country is_not DE , AT,"a, \"b\\" `: `["is_not","visit:country",["DE","AT","a, \"b\\"]]`,
		`a contains/i x and b is y or not c is z`:  `["or",[["and",[["contains","a",["x"],{"case_sensitive":false}],["is","b",["y"]]]],["not",["is","c",["z"]]]]]`,
		`a is x and (b is y or c is z) and d is w`: `["and",[["is","a",["x"]],["or",[["is","b",["y"]],["is","c",["z"]]]],["is","d",["w"]]]]`,
		`not not ((a is x))`:                       `["not",["not",["is","a",["x"]]]]`,
		`"event:props:my key" is "and","(",""`:     `["is","event:props:my key",["and","(",""]]`,
		`event:page matches "^/docs(/|$)"`:         `["matches","event:page",["^/docs(/|$)"]]`,
		`event:page matches "\d\\d"`:               `["matches","event:page",["\\d\\d"]]`,
		`event:page matches_not ^/ä$`:              `["matches_not","event:page",["^/ä$"]]`,
	} {
		got, err := parseWhere(where)
		text, _ := json.Marshal(got)
		if err != nil || string(text) != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", where, text, err, want)
		}
	}
	for where, want := range map[string]string{
		` `:                      "ends too early",
		`visit:country`:          "ends too early",
		`visit:country is`:       "ends too early",
		`visit:country is DE,`:   "ends too early",
		`visit:country is DE AT`: `"AT" stands after the end`,
		`visit:country is and`:   `"and" stands where a word should`,
		`visit:country is ,`:     `"," stands where a word should`,
		`a is x and`:             "ends too early",
		`a is x or or b is y`:    `"or" stands where a word should`,
		`(a is x`:                "a parenthesis is not closed",
		`a is x)`:                `")" stands after the end`,
		`a is "x`:                "a quote is not closed",
		`a like x`:               `operator "like": unknown`,
		`a "not" x`:              `operator "not": unknown`,
		`a is/I x`:               `operator "is/I": unknown`,
	} {
		if got, err := parseWhere(where); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", where, got, err, want)
		}
	}
}

func FuzzWhere(f *testing.F) {
	f.Add(`a is x and (b is/i "y" or not c is z)`)
	f.Fuzz(func(t *testing.T, where string) {
		if filter, err := parseWhere(where); err == nil && len(filter) < 2 {
			t.Errorf("%q is %v", where, filter)
		}
	})
}

func TestQueryTotals(t *testing.T) {
	c := queryCmd{Metrics: []string{"visitors"}, Dimensions: []string{"visit:source", "visit:os"}, Format: "table", Totals: true, Limit: 1}
	q, err := c.query()
	if err != nil || q.Include == nil || !q.Include.Totals {
		t.Errorf("query is %+v, %v", q, err)
	}
	var stdout, stderr strings.Builder
	answer := `{"results":[{"dimensions":["Google","iOS"],"metrics":[3]}],"meta":{"totals":{"metrics":[12],"lower_bounds":[10]}}}`
	if err := c.write(&stdout, &stderr, []byte(answer)); err != nil {
		t.Fatal(err)
	}
	if want := "visit:source  visit:os  visitors\nGoogle        iOS       3\n(total)                 10..12\n"; stdout.String() != want {
		t.Errorf("table is\n%s, want\n%s", &stdout, want)
	}
	c.Format = "csv"
	if _, err := c.query(); err == nil || !strings.Contains(err.Error(), "--totals: not with --format csv") {
		t.Errorf("totals in CSV: %v", err)
	}
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
