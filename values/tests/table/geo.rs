//! Geometry, and `GeoJSON`.

use geo_types::{Geometry, Point, Polygon, polygon};
use geojson::{Feature, GeoJson};
use glam::{Mat4, Quat, Vec3};
use nalgebra::{DMatrix, DVector, Isometry3, Vector3};

use crate::harness::{Case, case, tests};

tests!(of_geojson, of_geo_types, of_glam, of_nalgebra);

fn feature() -> &'static str {
    r#"{
        "type": "Feature", "id": 5, "bbox": [0.0, 0.0, 1.0, 1.5],
        "properties": { "name": "a", "size": 1, "share": 0.5, "none": null },
        "geometry": { "type": "Polygon",
            "coordinates": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.5], [0.0, 0.0]]] }
    }"#
}

fn of_geojson() -> Vec<Case> {
    vec![
        case!("geojson", GeoJson, "a feature", feature().parse().unwrap()),
        case!(
            "geojson",
            Feature,
            "a feature",
            Feature::try_from(feature().parse::<GeoJson>().unwrap()).unwrap()
        ),
        case!("geojson", GeoJson, "a collection of features", {
            let text = format!(r#"{{ "type": "FeatureCollection", "features": [{}] }}"#, feature());
            text.parse().unwrap()
        }),
        case!("geojson", geojson::Geometry, "a point", {
            geojson::Geometry::new(geojson::GeometryValue::Point {
                coordinates: [1.5, -2.5].into(),
            })
        }),
    ]
}

fn of_geo_types() -> Vec<Case> {
    vec![
        case!("geo-types", Point<f64>, "a point", Point::new(1.5, -2.5)),
        case!("geo-types", Polygon<f64>, "with a hole", hole()),
        case!("geo-types", Geometry<f64>, "a polygon", hole().into()),
        case!("geo-types", Vec<Point<f32>>, "100", {
            (0..100_u8).map(|n| Point::new(n.into(), 0.5)).collect()
        }),
    ]
}

fn hole() -> Polygon<f64> {
    polygon!(
        exterior: [(x: 0.0, y: 0.0), (x: 9.0, y: 0.0), (x: 9.0, y: 9.0)],
        interiors: [[(x: 5.0, y: 1.0), (x: 6.0, y: 1.0), (x: 6.0, y: 2.0)]],
    )
}

fn of_glam() -> Vec<Case> {
    vec![
        case!("glam", Vec3, "a vector", Vec3::new(1.5, -2.5, 3.5)),
        case!(
            "glam",
            Mat4,
            "a matrix",
            Mat4::from_cols_array(&std::array::from_fn(|n| {
                f32::from(u8::try_from(n).unwrap())
            }))
        ),
        case!("glam", Quat, "a rotation", Quat::from_xyzw(0.5, -0.5, 0.5, 0.5)),
        case!("glam", Vec<Vec3>, "100", vec![Vec3::new(1.5, -2.5, 3.5); 100]),
    ]
}

fn of_nalgebra() -> Vec<Case> {
    vec![
        case!("nalgebra", DMatrix<f64>, "3 by 50", {
            DMatrix::from_iterator(3, 50, (0..150).map(f64::from))
        }),
        case!("nalgebra", DVector<u64>, "100", DVector::from_iterator(100, 0..100)),
        case!("nalgebra", Vector3<f32>, "a vector", Vector3::new(1.5, -2.5, 3.5)),
        case!("nalgebra", Isometry3<f64>, "a motion", {
            Isometry3::new(Vector3::new(1.0, 2.0, 3.0), Vector3::new(0.5, 0.25, 0.125))
        }),
    ]
}
