package tracker

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
)

//go:generate go run ./data/gencountry -out data/country.mmdb

// countryTable is the country of every address by IPFire's location data; see data/NOTICE.txt.
//
//go:embed data/country.mmdb
var countryTable []byte

// Geo knows the country of an address and, with a city database, its region and city. It asks nobody for it.
// It may be used by many goroutines.
type Geo struct {
	reader *geoip2.Reader
	cities bool
}

// OpenGeo opens a MaxMind DB file of MaxMind (GeoLite2, GeoIP2) or DB-IP with countries or cities, or the
// embedded table of countries if file is empty. Close it after use.
func OpenGeo(file string) (*Geo, error) {
	if file == "" {
		reader, err := geoip2.OpenBytes(countryTable)
		if err != nil {
			return nil, fmt.Errorf("open embedded country table: %w", err)
		}
		return &Geo{reader: reader}, nil
	}
	reader, err := geoip2.Open(file)
	if err != nil {
		if wrong := (geoip2.UnknownDatabaseTypeError{}); errors.As(err, &wrong) {
			return nil, wrongType(file, wrong.DatabaseType)
		}
		return nil, fmt.Errorf("open geoip file %s: %w; give an unpacked .mmdb file, or leave the option out to use the built-in country table", file, err)
	}
	geo := &Geo{reader: reader, cities: hasCities(reader.Metadata().DatabaseType)}
	// The file may be of a known kind and still lack countries (ASN, ISP), or be cut off behind its index.
	if err := geo.probe(); err != nil {
		_ = reader.Close()
		if wrong := (geoip2.InvalidMethodError{}); errors.As(err, &wrong) {
			return nil, wrongType(file, wrong.DatabaseType)
		}
		return nil, fmt.Errorf("read geoip file %s: %w; the file is damaged, download it again", file, err)
	}
	return geo, nil
}

func wrongType(file, databaseType string) error {
	return fmt.Errorf("open geoip file %s: it is of type %q; give a country or city database of MaxMind or DB-IP", file, databaseType)
}

// hasCities tells whether databases of this type know more than countries.
func hasCities(databaseType string) bool {
	for _, kind := range []string{"City", "Location", "Enterprise"} {
		if strings.Contains(databaseType, kind) {
			return true
		}
	}
	return false
}

// probe looks up addresses all over the number space, to find a damaged file at start and not at the first visitor
// from a damaged corner.
func (g *Geo) probe() error {
	for first := range 256 {
		for _, second := range []byte{0, 64, 128, 192} {
			if err := g.lookup(netip.AddrFrom4([4]byte{byte(first), second, 8, 8}), &place{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close releases the file. The Geo must not be used any more.
func (g *Geo) Close() error { return g.reader.Close() }

// place is where an address is: ISO 3166-1 alpha-2, ISO 3166-2 and the city's English name. What is not known
// is empty.
type place struct{ country, region, city string }

// locate returns the place of an address, all empty for private and unknown ones.
func (g *Geo) locate(addr netip.Addr) place {
	var p place
	if !addr.IsValid() {
		return p
	}
	if err := g.lookup(addr, &p); err != nil {
		return place{} // a damaged record is an unknown place: the hit counts all the same
	}
	return p
}

func (g *Geo) lookup(addr netip.Addr, p *place) error {
	if !g.cities {
		record, err := g.reader.Country(addr)
		if err != nil {
			return err
		}
		p.country = record.Country.ISOCode
		return nil
	}
	record, err := g.reader.City(addr)
	if err != nil {
		return err
	}
	p.country, p.city = record.Country.ISOCode, record.City.Names.English
	if len(record.Subdivisions) > 0 && record.Subdivisions[0].ISOCode != "" && p.country != "" {
		p.region = p.country + "-" + record.Subdivisions[0].ISOCode
	}
	return nil
}
