//! Shopify: orders, products, customers, by the GraphQL Admin API. <https://shopify.dev/docs/api/admin-graphql>
//!
//! Shopify answers 200 to nearly everything. What it says of the request stands in `errors`, what it says of the
//! values in `userErrors`.

use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, heard};
use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://shopify.dev/docs/api/admin-graphql/2026-10",
    base: "https://{@shop}.myshopify.com",
    auth: &[Auth::Header(&[(
        ("token", "the Admin API access token of an app, `shpat_…`"),
        "x-shopify-access-token",
        "",
    )])],
    settings: &[("shop", "what stands before `.myshopify.com`")],
    budgets: &[(10, Millis::secs(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errors/0/extensions/code", "/data/result/userErrors/0/code"],
        rules: &[
            ("THROTTLED", Class::RateLimited),
            ("ACCESS_DENIED", Class::Permission),
            ("SHOP_INACTIVE", Class::Permission),
            ("MAX_COST_EXCEEDED", Class::Invalid),
            ("INTERNAL_SERVER_ERROR", Class::Unavailable),
            ("TIMEOUT", Class::Timeout),
            ("NOT_FOUND", Class::NotFound),
            ("PRODUCT_DOES_NOT_EXIST", Class::NotFound),
            ("IDEMPOTENCY_CONCURRENT_REQUEST", Class::Unavailable),
            ("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", Class::Conflict),
            ("TAKEN", Class::Conflict),
        ],
        waits: &[Wait::Of(bucket)],
        failed: &["/errors", "/data/result/userErrors"],
        ..Faults::HTTP
    },
    ..Vendor::new("shopify", "Shopify", "Orders, products and customers of a Shopify shop.")
};

/// The bucket of query costs: how long until there is enough in it.
fn bucket(body: &Value) -> Option<Millis> {
    let cost = body.pointer("/extensions/cost")?;
    let asked = cost.get("requestedQueryCost")?.as_f64()?;
    let there = cost.pointer("/throttleStatus/currentlyAvailable")?.as_f64()?;
    let rate = cost.pointer("/throttleStatus/restoreRate")?.as_f64().filter(|r| *r > 0.0)?;
    let seconds = ((asked - there) / rate).clamp(0.0, 3_600.0);
    #[allow(clippy::cast_possible_truncation)]
    Some(Millis((seconds * 1_000.0).ceil() as i64))
}

input! {
    #[serde(rename_all = "camelCase")]
    List {
        /// Words, or conditions like `created_at:>2026-01-01 status:open`.
        query: Option<String>,
        /// What they are sorted by: `CREATED_AT`, `UPDATED_AT`, `ID`, ...
        sort_key: Option<String>,
        /// The other way round.
        reverse: Option<bool>,
        /// How many a page, at most 250; 50 if not given.
        #[schemars(range(min = 1, max = 250))]
        first: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }

    GetOrder {
        /// The order: `gid://shopify/Order/1`.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    CreateProduct {
        /// Its title.
        title: String,
        /// What is said of it, as HTML.
        description_html: Option<String>,
        /// The last part of its address.
        handle: Option<String>,
        /// Whose it is.
        vendor: Option<String>,
        /// What it is.
        product_type: Option<String>,
        /// `ACTIVE`, `DRAFT` or `ARCHIVED`.
        status: Option<String>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// Each with `name` and `values`.
        product_options: Option<Vec<Object>>,
        /// Values of your own: `namespace`, `key`, `type`, `value`.
        metafields: Option<Vec<Object>>,
        /// `title` and `description` for search engines.
        seo: Option<Object>,
    }

    /// A customer: one of name, `phone` and `email`.
    #[serde(rename_all = "camelCase")]
    CreateCustomer {
        /// The mail address.
        email: Option<String>,
        /// The telephone number.
        phone: Option<String>,
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// The language: `en`.
        locale: Option<String>,
        /// A note.
        note: Option<String>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// Addresses: `address1`, `city`, `zip`, `countryCode`, ...
        addresses: Option<Vec<Object>>,
        /// `marketingState`, `marketingOptInLevel`.
        email_marketing_consent: Option<Object>,
        /// Pays no tax.
        tax_exempt: Option<bool>,
        /// Values of your own.
        metafields: Option<Vec<Object>>,
    }

    #[serde(rename_all = "camelCase")]
    CreateDraftOrder {
        /// Each with `variantId`, or `title` and `originalUnitPriceWithCurrency`, and `quantity`.
        #[schemars(length(min = 1))]
        line_items: Vec<Object>,
        /// `customerId`.
        purchasing_entity: Option<Object>,
        /// The mail address.
        email: Option<String>,
        /// A note.
        note: Option<String>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// Where it is sent to.
        shipping_address: Option<Object>,
        /// Who pays.
        billing_address: Option<Object>,
        /// How it is sent: `title`, `priceWithCurrency`.
        shipping_line: Option<Object>,
        /// `value`, `valueType`, `title`.
        applied_discount: Option<Object>,
        /// Values of your own: `key`, `value`.
        custom_attributes: Option<Vec<Object>>,
        /// Pays no tax.
        tax_exempt: Option<bool>,
    }

    AddTags {
        /// An order, product, customer, draft order or article: its `gid://shopify/…`.
        id: String,
        /// Tags.
        #[schemars(length(min = 1))]
        tags: Vec<String>,
    }

    #[serde(rename_all = "camelCase")]
    AdjustInventory {
        /// What is counted: `available` or `on_hand`, ...
        name: String,
        /// Why: `correction`, `received`, `damaged`, ...
        reason: String,
        /// Each with `inventoryItemId`, `locationId`, `delta` and `changeFromQuantity`, which may be null.
        #[schemars(length(min = 1))]
        changes: Vec<Object>,
        /// The address of what it belongs to.
        reference_document_uri: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Order {
        /// Its id.
        id: String,
        /// The number that people see: `#1001`.
        name: String,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        updated_at: Option<String>,
        /// `PAID`, `PENDING`, ...
        display_financial_status: Option<String>,
        /// `FULFILLED`, `UNFULFILLED`, ...
        display_fulfillment_status: Option<String>,
        /// The mail address.
        email: Option<String>,
        /// `shopMoney` with `amount` and `currencyCode`.
        total_price_set: Option<Object>,
        /// `id` and `displayName`.
        customer: Option<Object>,
        /// Tags.
        #[serde(default)]
        tags: Vec<String>,
        /// Its lines; told by `get_order` only.
        line_items: Option<Object>,
        /// When it was cancelled.
        cancelled_at: Option<String>,
        /// A note.
        note: Option<String>,
    }

    Orders {
        /// The orders.
        nodes: Vec<Order>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Product {
        /// Its id.
        id: String,
        /// Its title.
        title: String,
        /// The last part of its address.
        handle: Option<String>,
        /// `ACTIVE`, `DRAFT` or `ARCHIVED`.
        status: Option<String>,
        /// Whose it is.
        vendor: Option<String>,
        /// What it is.
        product_type: Option<String>,
        /// How many there are.
        total_inventory: Option<i64>,
        /// Tags.
        #[serde(default)]
        tags: Vec<String>,
        /// When it was changed.
        updated_at: Option<String>,
    }

    Products {
        /// The products.
        nodes: Vec<Product>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Customer {
        /// The customer's id.
        id: String,
        /// A name.
        display_name: Option<String>,
        /// `emailAddress`.
        default_email_address: Option<Object>,
        /// `phoneNumber`.
        default_phone_number: Option<Object>,
        /// Tags.
        #[serde(default)]
        tags: Vec<String>,
        /// When it was made.
        created_at: Option<String>,
    }

    Customers {
        /// The customers.
        nodes: Vec<Customer>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    DraftOrder {
        /// Its id.
        id: String,
        /// The number that people see: `#D1`.
        name: String,
        /// `OPEN`, `INVOICE_SENT` or `COMPLETED`.
        status: Option<String>,
        /// Where the customer pays.
        invoice_url: Option<String>,
        /// `shopMoney` with `amount` and `currencyCode`.
        total_price_set: Option<Object>,
    }

    Tagged {
        /// What was tagged.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    Adjusted {
        /// The adjustment's id.
        id: Option<String>,
        /// Why.
        reason: Option<String>,
        /// Each with `name`, `delta` and `quantityAfterChange`.
        #[serde(default)]
        changes: Vec<Object>,
    }
}

const PATH: &str = "admin/api/2026-10/graphql.json";
const LIST: Pages = Pages {
    items: "/nodes",
    next: Next::Flagged("/pageInfo/hasNextPage", "/pageInfo/endCursor", "after"),
};

const ORDERS: &str = "query Orders($query: String, $sortKey: OrderSortKeys, $reverse: Boolean, $first: Int, $after: String) { \
    result: orders(query: $query, sortKey: $sortKey, reverse: $reverse, first: $first, after: $after) { \
    nodes { id name createdAt updatedAt displayFinancialStatus displayFulfillmentStatus email cancelledAt note tags \
    totalPriceSet { shopMoney { amount currencyCode } } customer { id displayName } } \
    pageInfo { hasNextPage endCursor } } }";
const ORDER: &str = "query Order($id: ID!) { result: order(id: $id) { \
    id name createdAt updatedAt displayFinancialStatus displayFulfillmentStatus email cancelledAt note tags \
    totalPriceSet { shopMoney { amount currencyCode } } customer { id displayName } \
    lineItems(first: 100) { nodes { id title quantity sku variant { id } \
    originalUnitPriceSet { shopMoney { amount currencyCode } } } } } }";
const PRODUCTS: &str = "query Products($query: String, $sortKey: ProductSortKeys, $reverse: Boolean, $first: Int, $after: String) { \
    result: products(query: $query, sortKey: $sortKey, reverse: $reverse, first: $first, after: $after) { \
    nodes { id title handle status vendor productType totalInventory tags updatedAt } \
    pageInfo { hasNextPage endCursor } } }";
const CUSTOMERS: &str = "query Customers($query: String, $sortKey: CustomerSortKeys, $reverse: Boolean, $first: Int, $after: String) { \
    result: customers(query: $query, sortKey: $sortKey, reverse: $reverse, first: $first, after: $after) { \
    nodes { id displayName defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber } tags createdAt } \
    pageInfo { hasNextPage endCursor } } }";
const CREATE_PRODUCT: &str = "mutation CreateProduct($product: ProductCreateInput!) { \
    result: productCreate(product: $product) { \
    product { id title handle status vendor productType totalInventory tags updatedAt } userErrors { field message } } }";
const CREATE_CUSTOMER: &str = "mutation CreateCustomer($input: CustomerInput!) { \
    result: customerCreate(input: $input) { \
    customer { id displayName defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber } tags createdAt } \
    userErrors { field message } } }";
const CREATE_DRAFT_ORDER: &str = "mutation CreateDraftOrder($input: DraftOrderInput!) { \
    result: draftOrderCreate(input: $input) { \
    draftOrder { id name status invoiceUrl totalPriceSet { shopMoney { amount currencyCode } } } \
    userErrors { field message } } }";
const ADD_TAGS: &str = "mutation AddTags($id: ID!, $tags: [String!]!) { \
    result: tagsAdd(id: $id, tags: $tags) { node { id } userErrors { field message } } }";
const ADJUST_INVENTORY: &str = "mutation AdjustInventory($input: InventoryAdjustQuantitiesInput!, $key: String!) { \
    result: inventoryAdjustQuantities(input: $input) @idempotent(key: $key) { \
    inventoryAdjustmentGroup { id reason changes { name delta quantityAfterChange } } \
    userErrors { code field message } } }";

/// The connector.
pub(crate) fn connector() -> Api {
    let first: crate::api::Shape = |_, fields, _| {
        fields.entry("first").or_insert_with(|| json!(50));
        Ok(())
    };
    Api::new(
        &VENDOR,
        vec![
            call::<List, Orders>("list_orders", "List orders", "Lists orders that fulfil a condition.")
                .graphql(PATH, ORDERS)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read_orders"]),
            call::<GetOrder, Order>("get_order", "Get an order", "Gets an order with its lines.")
                .graphql(PATH, ORDER)
                .reads()
                .if_any("/data/result")
                .scopes(&["read_orders"]),
            call::<List, Products>("list_products", "List products", "Lists products that fulfil a condition.")
                .graphql(PATH, PRODUCTS)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read_products"]),
            call::<List, Customers>("list_customers", "List customers", "Lists customers that fulfil a condition.")
                .graphql(PATH, CUSTOMERS)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read_customers"]),
            call::<CreateProduct, Product>("create_product", "Add a product", "Adds a product.")
                .graphql(PATH, CREATE_PRODUCT)
                .within("product")
                .at("/data/result/product")
                .scopes(&["write_products"]),
            call::<CreateCustomer, Customer>("create_customer", "Add a customer", "Adds a customer.")
                .graphql(PATH, CREATE_CUSTOMER)
                .at("/data/result/customer")
                .scopes(&["write_customers"]),
            call::<CreateDraftOrder, DraftOrder>(
                "create_draft_order",
                "Draft an order",
                "Drafts an order that a customer can pay.",
            )
            .graphql(PATH, CREATE_DRAFT_ORDER)
            .at("/data/result/draftOrder")
            .scopes(&["write_draft_orders"]),
            call::<AddTags, Tagged>(
                "add_tags",
                "Add tags",
                "Adds tags to an order, a product, a customer and the like.",
            )
            .graphql(PATH, ADD_TAGS)
            .natural()
            .at("/data/result/node")
            .scopes(&["write_orders", "write_products", "write_customers"]),
            call::<AdjustInventory, Adjusted>(
                "adjust_inventory",
                "Adjust stock",
                "Adds to quantities in stock, or takes away.",
            )
            .graphql(PATH, ADJUST_INVENTORY)
            .keyed()
            .shape(|_, fields, session| {
                fields.insert(
                    "key".into(),
                    crate::api::content::uuid(session.cx, "shopify.inventory").into(),
                );
                Ok(())
            })
            .at("/data/result/inventoryAdjustmentGroup")
            .scopes(&["write_inventory"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened in a shop.
    Happened {
        /// What: `orders/create`.
        topic: String,
        /// The shop's domain.
        shop: Option<String>,
        /// The version that the payload is written in.
        api_version: Option<String>,
        /// What it happened to.
        payload: Object,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Shopify signs events with: the app's client secret");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Shopify tells of an order, a product, a customer.",
        |hook, body| {
            let header = |name: &str| hook.header(name).unwrap_or_default().to_owned();
            vec![Told {
                // Equal over all deliveries of what happened once.
                id: hook
                    .header("x-shopify-event-id")
                    .map_or_else(|| header("x-shopify-webhook-id"), str::to_owned),
                kind: header("x-shopify-topic"),
                at: None,
                data: json!({
                    "topic": header("x-shopify-topic"), "shop": hook.header("x-shopify-shop-domain"),
                    "api_version": hook.header("x-shopify-api-version"), "payload": body,
                }),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Base64,
        header: "x-shopify-hmac-sha256",
        prefix: "",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_says_how_long_to_wait() {
        for (asked, there, rate, wait) in [
            (100, 50.0, 100.0, Some(500)),
            (10, 50.0, 100.0, Some(0)),
            (1_000, 0.0, 50.0, Some(20_000)),
            (1, 0.0, 0.0, None),
        ] {
            let body = json!({"extensions": {"cost": {
                "requestedQueryCost": asked,
                "throttleStatus": {"currentlyAvailable": there, "restoreRate": rate, "maximumAvailable": 2_000}
            }}});
            assert_eq!(bucket(&body), wait.map(Millis), "{body}");
        }
        assert_eq!(bucket(&json!({})), None);
    }
}
