package dashboard

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

// apiRequest is a query with parts added or replaced: each is the text of a JSON member.
func apiRequest(parts ...string) string {
	members := []string{`"site_id":"example.com"`, `"metrics":["visitors"]`, `"date_range":"7d"`}
	for _, p := range parts {
		key, _, _ := strings.Cut(p, ":")
		replaced := false
		for i, m := range members {
			if strings.HasPrefix(m, key+":") {
				members[i], replaced = p, true
			}
		}
		if !replaced {
			members = append(members, p)
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestParseQuery(t *testing.T) {
	visitorsFirst := []storage.Order{{Metric: storage.Visitors, Desc: true}}
	for _, c := range []struct {
		parts []string
		want  storage.Query
	}{
		{nil, storage.Query{Order: visitorsFirst}},
		{[]string{`"metrics":["pageviews","bounce_rate"]`}, storage.Query{
			Metrics: []storage.Metric{storage.PageViews, storage.BounceRate},
			Order:   []storage.Order{{Metric: storage.PageViews, Desc: true}},
		}},
		{[]string{`"dimensions":["visit:source"]`}, storage.Query{GroupBy: []storage.Column{storage.Source}, Order: visitorsFirst}},
		{[]string{`"dimensions":["time:day"]`}, storage.Query{
			Interval: storage.ByDay, Order: []storage.Order{{Time: true}, {Metric: storage.Visitors, Desc: true}},
		}},
		{[]string{`"dimensions":["visit:browser","time:week","event:page"]`, `"order_by":[["event:page","desc"],["time:week","asc"],["visit:browser","asc"],["visitors","asc"]]`}, storage.Query{
			Interval: storage.ByWeek, GroupBy: []storage.Column{storage.Browser, storage.Path},
			Order: []storage.Order{{Column: storage.Path, Desc: true}, {Time: true}, {Column: storage.Browser}, {Metric: storage.Visitors}},
		}},
		{[]string{`"filters":[["is","visit:country",["DE","AT"]],["contains","event:page",["/docs"]]]`}, storage.Query{
			Order: visitorsFirst,
			Filters: []storage.Filter{
				{Column: storage.Country, Op: storage.Is, Values: []string{"DE", "AT"}},
				{Column: storage.Path, Op: storage.Contains, Values: []string{"/docs"}},
			},
		}},
		{[]string{`"filters":[["and",[["is_not","visit:os",["Windows"]],["or",[["is","visit:device",["Mobile"],{"case_sensitive":true}]]]]],["not",["matches_not","event:page",["^/A"],{"case_sensitive":false}]]]`}, storage.Query{
			Order: visitorsFirst,
			Filters: []storage.Filter{
				{Op: storage.And, Of: []storage.Filter{
					{Column: storage.OS, Op: storage.IsNot, Values: []string{"Windows"}},
					{Op: storage.Or, Of: []storage.Filter{{Column: storage.Device, Op: storage.Is, Values: []string{"Mobile"}}}},
				}},
				{Op: storage.Not, Of: []storage.Filter{{Column: storage.Path, Op: storage.MatchesNot, Values: []string{"^/A"}, AnyCase: true}}},
			},
		}},
		{[]string{`"dimensions":["event:props:plan","event:name","time:day"]`, `"order_by":[["event:props:plan","asc"]]`,
			`"filters":[["is","event:props:seats",["(none)","2"]],["contains_not","event:props:plan",["(none)"]]]`, `"include":{"totals":true}`}, storage.Query{
			GroupBy: []storage.Column{storage.Props, storage.Name}, PropKeys: []string{"plan"}, Interval: storage.ByDay, Totals: true,
			Order: []storage.Order{{Column: storage.Props, Prop: "plan"}},
			Filters: []storage.Filter{
				{Column: storage.Props, Prop: "seats", Op: storage.Is, Values: []string{"", "2"}},
				{Column: storage.Props, Prop: "plan", Op: storage.ContainsNot, Values: []string{"(none)"}},
			},
		}},
		{[]string{`"filters":[["is","visit:source",["Direct / None","Google"]],["is_not","visit:referrer",["Direct / None"]],["is","visit:utm_campaign",["(not set)"]],["is_not","visit:country",[""]],["contains","visit:source",["Direct / None"]]]`}, storage.Query{
			Order: visitorsFirst,
			Filters: []storage.Filter{
				{Column: storage.Source, Op: storage.Is, Values: []string{"", "Google"}},
				{Column: storage.Referrer, Op: storage.IsNot, Values: []string{""}},
				{Column: storage.UTMCampaign, Op: storage.Is, Values: []string{""}},
				{Column: storage.Country, Op: storage.IsNot, Values: []string{""}},
				{Column: storage.Source, Op: storage.Contains, Values: []string{"Direct / None"}},
			},
		}},
		{[]string{`"pagination":{"limit":3,"offset":6}`}, storage.Query{Order: visitorsFirst, Limit: 3, Offset: 6}},
		{[]string{`"pagination":{"offset":6}`}, storage.Query{Order: visitorsFirst, Offset: 6}},
		{[]string{`"pagination":{}`, `"filters":[]`, `"dimensions":[]`, `"order_by":[]`, `"include":{}`}, storage.Query{Order: visitorsFirst}},
		{[]string{`"pagination":null`, `"filters":null`, `"dimensions":null`, `"order_by":null`, `"include":null`}, storage.Query{Order: visitorsFirst}},
	} {
		if c.want.Metrics == nil {
			c.want.Metrics = []storage.Metric{storage.Visitors}
		}
		if c.want.Limit == 0 {
			c.want.Limit = 10000
		}
		body := apiRequest(c.parts...)
		q, err := parseQuery([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if !reflect.DeepEqual(q.query, c.want) {
			t.Errorf("%s\n got %+v\nwant %+v", body, q.query, c.want)
		}
	}
}

// Every metric and dimension that the store knows by name can be asked for under it, and filtered.
func TestParseQueryNames(t *testing.T) {
	metrics := []string{"visitors", "visits", "pageviews", "views_per_visit", "bounce_rate", "visit_duration", "events", "time_on_page", "scroll_depth"}
	for _, m := range metrics {
		q, err := parseQuery([]byte(apiRequest(fmt.Sprintf(`"metrics":[%q]`, m))))
		if err != nil || q.query.Metrics[0].String() != m {
			t.Errorf("metric %s: %v", m, err)
		}
	}
	for _, d := range []string{
		"event:name", "event:page", "event:hostname", "visit:entry_page", "visit:exit_page", "visit:source", "visit:channel",
		"visit:referrer", "visit:utm_source", "visit:utm_medium", "visit:utm_campaign", "visit:utm_term", "visit:utm_content",
		"visit:country", "visit:region", "visit:city", "visit:browser", "visit:browser_version", "visit:os", "visit:os_version",
		"visit:device", "visit:screen", "visit:language",
	} {
		body := apiRequest(fmt.Sprintf(`"dimensions":[%q]`, d), fmt.Sprintf(`"filters":[["is",%q,["x"]]]`, d))
		q, err := parseQuery([]byte(body))
		if err != nil || q.query.GroupBy[0].String() != d || q.query.Filters[0].Column.String() != d {
			t.Errorf("dimension %s: %v", d, err)
		}
	}
}

func TestParseQueryErrors(t *testing.T) {
	deep := strings.Repeat(`["and",[`, 11) + `["is","visit:os",["x"]]` + strings.Repeat(`]]`, 11)
	for _, c := range []struct{ body, want string }{
		{``, "request body: empty"},
		{`{"site_id":"exa`, "JSON ends too early"},
		{`{"site_id":'x'}`, "not valid JSON at byte 12"},
		{`[]`, "request body: want a JSON object, got array"},
		{`"x"`, "request body: want a JSON object, got string"},
		{apiRequest() + `{}`, "has more after the JSON object"},
		{apiRequest() + ` x`, "has more after the JSON object"},
		{apiRequest(`"filter":[]`), `unknown key "filter"; known are site_id`},
		{apiRequest(`"include":{"comparisons":{}}`), `unknown key "comparisons"`},
		{apiRequest(`"pagination":{"page":2}`), `unknown key "page"`},
		{apiRequest(`"site_id":""`), "site_id: missing"},
		{apiRequest(`"site_id":7`), "site_id: want a string, got number"},
		{apiRequest(`"metrics":"visitors"`), "metrics: want a list, got string"},
		{apiRequest(`"metrics":[1]`), "metrics: want a string, got number"},
		{apiRequest(`"metrics":[]`), "metrics: missing"},
		{apiRequest(`"metrics":["users"]`), `metrics: metric "users": unknown; known are visitors`},
		{apiRequest(`"metrics":["visits","visits"]`), "metrics: visits is listed twice"},
		{apiRequest(`"metrics":["conversion_rate"]`), `metric "conversion_rate": unknown`},
		{apiRequest(`"date_range":null`), "date_range: missing"},
		{apiRequest(`"date_range":7`), "date_range: want a period"},
		{apiRequest(`"date_range":["2026-01-01"]`), "date_range: want a period"},
		{apiRequest(`"date_range":["2026-01-01","2026-01-02","2026-01-03"]`), "date_range: want a period"},
		{apiRequest(`"date_range":"custom"`), "date_range: want a period"},
		{apiRequest(`"dimensions":["visit:planet"]`), `dimensions: dimension "visit:planet": unknown`},
		{apiRequest(`"dimensions":["event:goal"]`), `dimension "event:goal": unknown`},
		{apiRequest(`"dimensions":["event:props:"]`), `dimension "event:props:": want the key of a property`},
		{apiRequest(`"dimensions":["event:props:a","event:props:a"]`), "dimensions: event:props:a is listed twice"},
		{apiRequest(`"dimensions":["time:minute"]`), `dimension "time:minute": unknown; known are time, time:hour`},
		{apiRequest(`"dimensions":["visit:os","visit:os"]`), "dimensions: visit:os is listed twice"},
		{apiRequest(`"dimensions":["time","time:day"]`), "dimensions: time and time:day cannot be used together"},
		{apiRequest(`"dimensions":["visit:os","visit:browser","visit:country","time"]`), "dimensions: 3 besides time; ask for at most 2"},
		{apiRequest(`"filters":["is"]`), "filters: want a list of filters"},
		{apiRequest(`"filters":["is","visit:os",["x"]]`), "filters: want a list of filters"},
		{apiRequest(`"filters":[[]]`), "filters: want a list of filters"},
		{apiRequest(`"filters":{"is":1}`), "filters: want a list, got object"},
		{apiRequest(`"filters":[["or",[]]]`), `"or" wants one list of filters`},
		{apiRequest(`"filters":[["not",[["is","visit:os",["x"]]]]]`), "filters: want a list of filters"},
		{apiRequest(`"filters":[["not",["is","visit:os",["x"]],["is","visit:os",["x"]]]]`), `"not" wants one filter`},
		{apiRequest(`"filters":[["not"]]`), `"not" wants one filter`},
		{apiRequest(`"filters":[["has_done",["is","visit:os",["x"]]]]`), `operator "has_done": unknown; known are is, is_not`},
		{apiRequest(`"filters":[["and",[]]]`), `"and" wants one list of filters`},
		{apiRequest(`"filters":[["and",["is","visit:os",["x"]],["is","visit:os",["y"]]]]`), `"and" wants one list of filters`},
		{apiRequest(`"filters":[` + deep + `]`), "nested more than 10 levels deep"},
		{apiRequest(`"filters":[["is","visit:os"]]`), `"is" has 2 parts`},
		{apiRequest(`"filters":[["is","visit:os",["x"],{},{}]]`), `"is" has 5 parts`},
		{apiRequest(`"filters":[["is",7,["x"]]]`), "dimension 7: want a string"},
		{apiRequest(`"filters":[["is","segment",[7]]]`), `dimension "segment": unknown`},
		{apiRequest(`"filters":[["is","time:day",["2026-01-01"]]]`), "time:day cannot be filtered; set date_range"},
		{apiRequest(`"filters":[["is","visit:os",[]]]`), "values of visit:os: want a list of one or more strings"},
		{apiRequest(`"filters":[["is","visit:os","x"]]`), "values of visit:os: want a list"},
		{apiRequest(`"filters":[["is","visit:city",[4347778]]]`), "values of visit:city: want a list of one or more strings"},
		{apiRequest(`"filters":[["is","visit:os",["x"],{"case":false}]]`), `modifier "case": unknown; known is case_sensitive`},
		{apiRequest(`"filters":[["is","visit:os",["x"],7]]`), "modifiers: want an object"},
		{apiRequest(`"order_by":["visitors","desc"]`), "order_by: want a list, got string"},
		{apiRequest(`"order_by":[[]]`), "order_by: []: want"},
		{apiRequest(`"order_by":[["visitors"]]`), `order_by: ["visitors"]: want a metric or dimension and a direction`},
		{apiRequest(`"order_by":[["visitors","down"]]`), `order_by: ["visitors", "down"]: want a metric or dimension and a direction, "asc" or "desc"`},
		{apiRequest(`"order_by":[["visitors","desc"],["visitors","asc"]]`), "order_by: visitors is listed twice"},
		{apiRequest(`"order_by":[["visits","desc"]]`), `order_by: "visits" is neither among the metrics nor the dimensions`},
		{apiRequest(`"order_by":[["visit:os","desc"]]`), `order_by: "visit:os" is neither`},
		{apiRequest(`"pagination":{"limit":0}`), "pagination.limit: 0; want 1 to 10000"},
		{apiRequest(`"pagination":{"limit":10001}`), "pagination.limit: 10001"},
		{apiRequest(`"pagination":{"limit":"3"}`), "pagination.limit: want a whole number, got string"},
		{apiRequest(`"pagination":{"limit":1.5}`), "pagination.limit: want a whole number, got number 1.5"},
		{apiRequest(`"pagination":{"offset":-1}`), "pagination.offset: -1"},
		{apiRequest(`"include":{"time_labels":1}`), "include.time_labels: want true or false, got number"},
		{apiRequest(`"include":{"time_labels":true}`), "include.time_labels: needs a time dimension"},
		{apiRequest(`"include":[]`), "include: want an object, got array"},
	} {
		q, err := parseQuery([]byte(c.body))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n = %+v, error %v\nwant %s", c.body, q, err, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 3, 29, 22, 30, 0, 0, time.UTC).In(berlin) // 00:30 on the 30th
	for _, c := range []struct {
		dates, dimension, from, to string
		interval                   storage.Interval
	}{
		{`"day"`, "time", "2026-03-30", "2026-03-30", storage.ByHour},
		{`"yesterday"`, "time", "2026-03-29", "2026-03-29", storage.ByHour},
		{`"7d"`, "time", "2026-03-24", "2026-03-30", storage.ByDay},
		{`"28d"`, "time:week", "2026-03-03", "2026-03-30", storage.ByWeek},
		{`"30d"`, "time:day", "2026-03-01", "2026-03-30", storage.ByDay},
		{`"91d"`, "time:month", "2025-12-30", "2026-03-30", storage.ByMonth},
		{`"month"`, "time:hour", "2026-03-01", "2026-03-30", storage.ByHour},
		{`"6mo"`, "time", "2025-10-01", "2026-03-30", storage.ByMonth},
		{`"12mo"`, "visit:os", "2025-04-01", "2026-03-30", storage.Whole},
		{`"year"`, "time", "2026-01-01", "2026-03-30", storage.ByDay},
		{`"all"`, "time", "2024-02-10", "2026-03-30", storage.ByMonth},
		{`["2024-01-01","2024-01-31"]`, "time", "2024-01-01", "2024-01-31", storage.ByDay},
		{`["2026-03-29T00:00:00+01:00","2026-03-29T23:59:59+02:00"]`, "time", "2026-03-29", "2026-03-29", storage.ByHour},
		{`["2026-03-28T23:00:00Z","2026-03-30T21:59:59.999Z"]`, "time", "2026-03-29", "2026-03-30", storage.ByDay},
	} {
		q, err := parseQuery([]byte(apiRequest(`"date_range":`+c.dates, fmt.Sprintf(`"dimensions":[%q]`, c.dimension))))
		if err != nil {
			t.Errorf("%s: %v", c.dates, err)
			continue
		}
		_, err = q.resolve(storage.Site{ID: 7}, now, day(t, "2024-02-10"))
		got := q.query
		if err != nil || got.Site != 7 || got.From != day(t, c.from) || got.To != day(t, c.to) || got.Interval != c.interval {
			t.Errorf("%s by %s = site %d, %v to %v by %d, %v; want %s to %s by %d", c.dates, c.dimension, got.Site, got.From, got.To, got.Interval, err, c.from, c.to, c.interval)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	for _, c := range []struct{ zone, dates, dimension, want string }{
		{"UTC", `"8d"`, "time", `date_range: period "8d": unknown; known are day, yesterday, 7d, 28d, 30d, 91d, month, 6mo, 12mo, year, all, or two days such as ["2026-01-01", "2026-01-31"]`},
		{"UTC", `["2024-01-31","2024-01-01"]`, "time", "date_range: custom period: ends on 2024-01-01, before it begins"},
		{"UTC", `["2024-01-31","x"]`, "time", `date_range: last day of the period: parse day "x"`},
		{"UTC", `["2024-01-01","2024-01-01T23:59:59Z"]`, "time", "date_range: last day of the period"},
		{"UTC", `["2024-01-01T12:00:00Z","2024-01-01T23:59:59Z"]`, "time", "are not whole days in the site's time zone (UTC)"},
		{"UTC", `["2024-01-01T00:00:00Z","2024-01-01T15:59:59Z"]`, "time", "are not whole days"},
		{"UTC", `["2024-01-01T00:00:00Z","2024-01-02T00:00:00Z"]`, "time", "are not whole days"},
		{"Europe/Berlin", `["2024-01-01T00:00:00Z","2024-01-01T23:59:59Z"]`, "time", "are not whole days in the site's time zone (Europe/Berlin)"},
		{"UTC", `["2024-01-01 00:00:00","2024-01-01T23:59:59Z"]`, "time", `"2024-01-01 00:00:00" is no date-time`},
		{"UTC", `["2024-01-01T00:00:00Z","2024-01-01T23:59:59"]`, "time", `"2024-01-01T23:59:59" is no date-time`},
		{"UTC", `["2024-01-01","2025-12-31"]`, "time:hour", "time:hour over 731 days; ask for at most 366 days, or for time:day"},
	} {
		q, err := parseQuery([]byte(apiRequest(`"date_range":`+c.dates, fmt.Sprintf(`"dimensions":[%q]`, c.dimension))))
		if err != nil {
			t.Errorf("%s: %v", c.dates, err)
			continue
		}
		now := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC).In(zone(t, c.zone))
		if p, err := q.resolve(storage.Site{}, now, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s by %s in %s = %+v, error %v, want %s", c.dates, c.dimension, c.zone, p, err, c.want)
		}
	}
}

// Midnight is missing on the day that clocks go forward in Santiago, and comes twice when they go back in Havana.
func TestWholeDaysAroundMissingMidnight(t *testing.T) {
	for _, c := range []struct{ zone, from, to, day string }{
		{"America/Santiago", "2026-09-06T01:00:00-03:00", "2026-09-06T23:59:59-03:00", "2026-09-06"},
		{"America/Santiago", "2026-04-04T00:00:00-03:00", "2026-04-04T23:59:59-04:00", "2026-04-04"},
		{"America/Havana", "2026-11-01T00:00:00-04:00", "2026-11-01T23:59:59-05:00", "2026-11-01"},
	} {
		from, to, err := wholeDays(c.from, c.to, zone(t, c.zone))
		if err != nil || from != c.day || to != c.day {
			t.Errorf("%s to %s in %s = %s to %s, %v, want %s", c.from, c.to, c.zone, from, to, err, c.day)
		}
	}
}

func TestLabels(t *testing.T) {
	for _, c := range []struct {
		from, to string
		interval storage.Interval
		count    int
		first    string
		last     string
	}{
		{"2024-08-20", "2024-08-20", storage.ByHour, 24, "2024-08-20 00:00:00", "2024-08-20 23:00:00"},
		{"2026-03-28", "2026-03-29", storage.ByHour, 48, "2026-03-28 00:00:00", "2026-03-29 23:00:00"},
		{"2024-02-28", "2024-03-01", storage.ByDay, 3, "2024-02-28", "2024-03-01"},
		{"2026-03-04", "2026-03-16", storage.ByWeek, 3, "2026-03-04", "2026-03-16"},
		{"2025-11-15", "2026-02-01", storage.ByMonth, 4, "2025-11-01", "2026-02-01"},
	} {
		p := Period{From: day(t, c.from), To: day(t, c.to)}
		got := p.labels(c.interval)
		if len(got) != c.count || got[0] != c.first || got[len(got)-1] != c.last {
			t.Errorf("labels of %s to %s by %d = %d: %v", c.from, c.to, c.interval, len(got), got)
		}
	}
}

// A query that is understood can be echoed, and its echo means the same.
func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(apiRequest()))
	f.Add([]byte(apiRequest(`"dimensions":["time","visit:source"]`, `"include":{"time_labels":true,"total_rows":true,"imports":true}`)))
	f.Add([]byte(apiRequest(`"filters":[["not",["or",[["matches","event:props:a",["(none)"],{"case_sensitive":false}]]]]]`, `"dimensions":["event:props:a"]`, `"include":{"totals":true}`)))
	f.Add([]byte(apiRequest(`"filters":[["and",[["is","visit:source",["Direct / None"]]]],["contains","event:page",["/"],{"case_sensitive":true}]]`)))
	f.Add([]byte(apiRequest(`"date_range":["2024-01-01T00:00:00Z","2024-01-01T23:59:59Z"]`, `"order_by":[["visitors","asc"]]`, `"pagination":{"limit":1,"offset":2}`)))
	f.Add([]byte(apiRequest(`"date_range":["9999-12-31","9999-12-31"]`, `"dimensions":["time:month"]`)))
	now, first := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC), storage.DateDay(2024, 1, 1)
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := parseQuery(body)
		if err != nil {
			return
		}
		p, err := q.resolve(storage.Site{ID: 1}, now, first)
		if err != nil {
			return
		}
		answer := q.answer(p, storage.Result{})
		again, err := json.Marshal(answer.Query)
		if err != nil {
			t.Fatalf("echo of %s: %v", body, err)
		}
		q2, err := parseQuery(again)
		if err != nil {
			t.Fatalf("echo %s of %s: %v", again, body, err)
		}
		p2, err := q2.resolve(storage.Site{ID: 1}, now, first)
		if err != nil || p2.From != p.From || p2.To != p.To || !reflect.DeepEqual(q2.query, q.query) {
			t.Fatalf("echo %s of %s means %+v, not %+v (%v)", again, body, q2.query, q.query, err)
		}
	})
}
