package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"dachs/storage"
)

const (
	// defaultLimit is how many rows an answer has unless asked otherwise, and the most it can have: the
	// number that Plausible documents.
	defaultLimit = 10000
	// maxColumns is how many dimensions besides time the store groups by.
	maxColumns = 2
	// noTime marks a query without a time dimension.
	noTime = -1
)

// apiQuery is a request to the Stats API that is well formed. What depends on the site, its time zone and
// its first day with data is filled in by resolve.
type apiQuery struct {
	siteID     string
	dates      dateRange
	dimensions []string // as asked for
	time       int      // index of the time dimension in dimensions, or noTime
	autoTime   bool     // the interval is that of the period
	filters    []apiFilter
	orderBy    [][2]string
	include    apiInclude
	query      storage.Query
}

// apiInclude are the additions to an answer that can be asked for. Imported logs are hits like any other and
// always part of the answer, so imports is accepted and changes nothing but meta.imports_included. Totals are ours: the
// metrics without dimensions, in meta.totals.
type apiInclude struct {
	Imports    bool `json:"imports,omitzero"`
	TimeLabels bool `json:"time_labels,omitzero"`
	TotalRows  bool `json:"total_rows,omitzero"`
	Totals     bool `json:"totals,omitzero"`
}

type apiPage struct {
	Limit  int `json:"limit"`
	Offset int `json:"offset"`
}

// apiBody is the JSON of a request.
type apiBody struct {
	SiteID     string            `json:"site_id"`
	Metrics    []string          `json:"metrics"`
	DateRange  json.RawMessage   `json:"date_range"`
	Dimensions []string          `json:"dimensions"`
	Filters    []json.RawMessage `json:"filters"`
	OrderBy    [][]string        `json:"order_by"`
	Include    apiInclude        `json:"include"`
	Pagination apiPage           `json:"pagination"`
}

// parseQuery reads a request in the form of Plausible's Stats API v2. Its errors are written for whoever
// sent the request.
func parseQuery(data []byte) (*apiQuery, error) {
	body := apiBody{Pagination: apiPage{Limit: defaultLimit}}
	if err := decodeBody(data, &body); err != nil {
		return nil, err
	}
	if body.SiteID == "" {
		return nil, errors.New(`site_id: missing; give the domain of the site, such as "example.com"`)
	}
	q := &apiQuery{siteID: body.SiteID, time: noTime, include: body.Include}
	q.query.Totals = body.Include.Totals
	var err error
	if q.query.Metrics, err = parseMetrics(body.Metrics); err != nil {
		return nil, err
	}
	if q.dates, err = parseDateRange(body.DateRange); err != nil {
		return nil, err
	}
	if err := q.setDimensions(body.Dimensions); err != nil {
		return nil, err
	}
	if q.filters, err = parseAPIFilters(body.Filters, 0); err != nil {
		return nil, err
	}
	for _, f := range q.filters {
		q.query.Filters = append(q.query.Filters, f.stored())
	}
	if err := q.setOrder(body.OrderBy); err != nil {
		return nil, err
	}
	if q.include.TimeLabels && q.time == noTime {
		return nil, errors.New("include.time_labels: needs a time dimension; add one such as time:day to dimensions")
	}
	return q, q.setPage(body.Pagination)
}

func decodeBody(data []byte, body *apiBody) error {
	d := json.NewDecoder(bytes.NewReader(data))
	// A misspelt key would otherwise be an answer to another question.
	d.DisallowUnknownFields()
	if err := d.Decode(body); err != nil {
		return explainJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("request body: has more after the JSON object; send one object")
	}
	return nil
}

// explainJSON words the decoder's errors in terms of the request rather than of Go types.
func explainJSON(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("request body: want a JSON object, got %s", kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("%s: want %s, got %s", kind.Field, jsonKind(kind.Type), kind.Value)
	case errors.As(err, &syntax):
		return fmt.Errorf("request body: not valid JSON at byte %d: %s", syntax.Offset, strings.TrimPrefix(err.Error(), "json: "))
	case errors.Is(err, io.EOF):
		return errors.New("request body: empty; send a JSON object with site_id, metrics and date_range")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("request body: JSON ends too early")
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("request body: unknown key %s; known are site_id, metrics, date_range, dimensions, filters, order_by, "+
			"include (imports, time_labels, total_rows, totals) and pagination (limit, offset)", key)
	}
	return fmt.Errorf("request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "an object"
}

func parseMetrics(names []string) ([]storage.Metric, error) {
	if len(names) == 0 {
		return nil, errors.New(`metrics: missing; give at least one, such as ["visitors"]`)
	}
	var metrics []storage.Metric
	for _, name := range names {
		m, err := storage.ParseMetric(name)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		if slices.Contains(metrics, m) {
			return nil, fmt.Errorf("metrics: %s is listed twice", name)
		}
		metrics = append(metrics, m)
	}
	return metrics, nil
}

// timeInterval reads the name of a time dimension; auto says that the period decides.
func timeInterval(name string) (i storage.Interval, auto, ok bool) {
	switch name {
	case "time":
		return storage.Whole, true, true
	case "time:hour":
		return storage.ByHour, false, true
	case "time:day":
		return storage.ByDay, false, true
	case "time:week":
		return storage.ByWeek, false, true
	case "time:month":
		return storage.ByMonth, false, true
	}
	return storage.Whole, false, false
}

func (q *apiQuery) setDimensions(names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("dimensions: %s is listed twice", name)
		}
		if interval, auto, ok := timeInterval(name); ok {
			if q.time != noTime {
				return fmt.Errorf("dimensions: %s and %s cannot be used together; keep one", names[q.time], name)
			}
			q.time, q.autoTime, q.query.Interval = i, auto, interval
			continue
		}
		column, prop, err := parseDimension(name)
		if err != nil {
			return fmt.Errorf("dimensions: %w", err)
		}
		q.query.GroupBy = append(q.query.GroupBy, column)
		if column == storage.Props {
			q.query.PropKeys = append(q.query.PropKeys, prop)
		}
	}
	if len(q.query.GroupBy) > maxColumns {
		return fmt.Errorf("dimensions: %d besides time; ask for at most %d at once", len(q.query.GroupBy), maxColumns)
	}
	q.dimensions = names
	return nil
}

// parseDimension reads the name of a dimension other than time.
func parseDimension(name string) (c storage.Column, prop string, err error) {
	if strings.HasPrefix(name, "time:") {
		return 0, "", fmt.Errorf("dimension %q: unknown; known are time, time:hour, time:day, time:week, time:month", name)
	}
	return storage.ParseDimension(name)
}

// setOrder falls back to the default that Plausible documents: time ascending, then the first metric descending.
func (q *apiQuery) setOrder(orders [][]string) error {
	if len(orders) == 0 {
		if q.time != noTime {
			orders = append(orders, []string{q.dimensions[q.time], "asc"})
		}
		orders = append(orders, []string{q.query.Metrics[0].String(), "desc"})
	}
	for _, o := range orders {
		if len(o) != 2 || o[1] != "asc" && o[1] != "desc" {
			return fmt.Errorf(`order_by: %s: want a metric or dimension and a direction, "asc" or "desc", such as ["visitors", "desc"]`, jsonList(o))
		}
		order, err := q.order(o[0])
		if err != nil {
			return err
		}
		order.Desc = o[1] == "desc"
		q.query.Order = append(q.query.Order, order)
		q.orderBy = append(q.orderBy, [2]string(o))
	}
	return nil
}

// jsonList writes strings as a request has them, for error messages.
func jsonList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (q *apiQuery) order(key string) (storage.Order, error) {
	for _, o := range q.orderBy {
		if o[0] == key {
			return storage.Order{}, fmt.Errorf("order_by: %s is listed twice", key)
		}
	}
	for _, m := range q.query.Metrics {
		if m.String() == key {
			return storage.Order{Metric: m}, nil
		}
	}
	for i, name := range q.dimensions {
		if name != key {
			continue
		}
		if i == q.time {
			return storage.Order{Time: true}, nil
		}
		c, prop, err := storage.ParseDimension(name)
		return storage.Order{Column: c, Prop: prop}, err
	}
	return storage.Order{}, fmt.Errorf("order_by: %q is neither among the metrics nor the dimensions of this query; add it there", key)
}

// columnIndex returns where dimension i, which is not the time, stands in the store's GroupBy.
func (q *apiQuery) columnIndex(i int) int {
	if q.time != noTime && q.time < i {
		return i - 1
	}
	return i
}

func (q *apiQuery) setPage(p apiPage) error {
	if p.Limit < 1 || p.Limit > defaultLimit {
		return fmt.Errorf("pagination.limit: %d; want 1 to %d", p.Limit, defaultLimit)
	}
	if p.Offset < 0 {
		return fmt.Errorf("pagination.offset: %d; want 0 or more", p.Offset)
	}
	q.query.Limit, q.query.Offset = p.Limit, p.Offset
	return nil
}
